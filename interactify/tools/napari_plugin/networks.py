"""The network that the widget names: built once, on the GPU where there is one, and kept until another one is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interactify.interactive import Interactive


class Networks:
    """Builds networks by name; one at a time is kept, since they are large."""

    def __init__(self) -> None:
        self._kept: tuple[str, Interactive] | None = None

    def named(self, text: str) -> Interactive:
        """The wrapped network for what `--model` takes.

        Raises:
            ModelError, CheckpointError, NotEnoughMemoryError: as `build_model`, `wrap` and `Interactive.to`.
        """
        from interactify.interactive import wrap
        from interactify.models.build import build_model, quickest_device

        if self._kept is None or self._kept[0] != text:
            self._kept = text, wrap(build_model(text)).to(quickest_device())
        return self._kept[1]
