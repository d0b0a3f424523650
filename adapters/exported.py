"""Exported programs (`torch.export`) and ONNX: the sizes that they were exported for."""

from __future__ import annotations

from torch import fx, nn

from interactify.inspection.exported_graph import is_exported, sizes_of
from interactify.inspection.spec import Knowledge


class Exported:
    """The graph says for which sizes of image it holds: one, or all between two limits and divisible by a number."""

    name = "exported"

    def recognises(self, model: nn.Module) -> bool:
        return is_exported(model) or _onnx_size(model) is not None

    def knows(self, model: nn.Module) -> Knowledge:
        size = _onnx_size(model)
        if size is not None:
            exact = size if getattr(model, "onnx_size_is_baked_in", False) else None
            return Knowledge(family=f"ONNX for images of {size[0]}×{size[1]}", exact=exact, resolution=max(size))
        assert isinstance(model, fx.GraphModule)
        sizes = sizes_of(model)
        if sizes.exact is not None:
            high, wide = sizes.exact
            family = f"exported by torch.export for images of {high}×{wide}"
            return Knowledge(family=family, exact=sizes.exact, resolution=max(sizes.exact))
        return Knowledge(
            family="exported by torch.export",
            divisor=sizes.divisor,
            smallest=sizes.smallest,
            fixed=False,  # whatever the sizes are that are tried
            resolution=sizes.largest if sizes.largest is not None and sizes.largest < 1024 else None,
        )


def _onnx_size(model: nn.Module) -> tuple[int, int] | None:
    """(H, W) that an ONNX graph states, as `interactify.models.onnx` notes it at the module."""
    size = vars(model).get("onnx_size")
    return size if isinstance(size, tuple) else None
