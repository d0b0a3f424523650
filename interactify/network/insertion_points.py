"""Where variables can act inside a network, and how much of its work depends on each insertion point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from interactify.inspection.probe import noise_image, submodule
from interactify.inspection.weak_map import WeakTensorMap
from interactify.network.feature_hooks import with_last_map
from interactify.network.network import Network


@dataclass(frozen=True)
class InsertionPoint:
    """A candidate for variables, as in `wrap(variables="scale_bias@NAME")` or `"bias_field@NAME"`.

    Attributes:
        name: the module whose output it is; "input" for the image itself.
        kind: the module's class.
        shape: (C, h, w) of the map, of a volume (C, d, h, w), for the size the network was probed with.
        share: the part of the network's floating-point operations that depends on it, and runs for each click.
        letter: "A", "B", "C" for the usual points of f-BRS (Sofiiuk et al., CVPR 2020, section 3.3), else "".
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    share: float
    letter: str = ""


class InsertionPoints(tuple[InsertionPoint, ...]):
    """All candidates in the order they run, the input first; `str` makes a table."""

    def __str__(self) -> str:
        rows = [("", "name", "kind", "shape", "run for a click")]
        for point in self:
            shape = "×".join(map(str, point.shape))
            rows.append((point.letter, point.name, point.kind, shape, f"{100 * point.share:.3g} %"))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def insertion_points(network: Network) -> InsertionPoints:
    """Run the network once more, on an image of noise, and count the operations that depend on each layer's map.

    Candidates are layers that return a map (N, C, h, w) of more than one pixel, with the same channels each time they
    run, on which the output depends.
    """
    spec = network.spec
    layers = [layer for layer in spec.layers if layer.name and layer.reaches and not layer.varies]
    layers = [layer for layer in layers if min(layer.shape[1:]) > 1]
    layers = [layer for layer in layers if layer.kind != "Identity" or layer in spec.insertion_points().values()]
    letters = {layer.name: letter for letter, layer in spec.insertion_points().items()}
    image = noise_image(spec.channels, spec.probed, torch.empty(0, dtype=spec.dtype, device=spec.device))
    after, total = _operations_after(network, [layer.name for layer in layers], image)
    whole = InsertionPoint("input", "image", (spec.channels, *spec.probed), 1.0)
    inside = (
        InsertionPoint(layer.name, layer.kind, layer.shape, count / max(total, 1), letters.get(layer.name, ""))
        for layer, count in zip(layers, after, strict=True)
    )
    return InsertionPoints((whole, *inside))


def _operations_after(network: Network, layers: list[str], image: Tensor) -> tuple[list[int], int]:
    """For each layer, the floating-point operations that depend on its output; and those of the whole pass."""
    with FlopCounterMode(display=False) as counter, _Dependencies(counter) as mode:
        handles = []
        for bit, name in enumerate(layers):
            module = submodule(network.replica, name)
            if not isinstance(module, torch.jit.ScriptModule):
                handles.append(module.register_forward_hook(partial(_mark, mode, 1 << bit, network.spec.sides)))
        try:
            network.plain_logits(image)
        finally:
            for handle in handles:
                handle.remove()
    after = [sum(count for bits, count in mode.counted.items() if bits >> bit & 1) for bit in range(len(layers))]
    return after, counter.get_total_flops()


def _mark(mode: _Dependencies, bit: int, sides: int, module: nn.Module, args: Any, out: Any) -> Any:
    bits = bit | mode.bits_of((args, out))  # the module's own autograd functions may hide what its input depends on

    def marked(value: Tensor) -> Tensor:
        own = value.view_as(value)  # another object: readers of the module's input do not depend on its output
        mode.put(own, bits)
        return own

    return with_last_map(out, marked, sides)


class _Dependencies(TorchFunctionMode):
    """Knows for every tensor, as bits, on which marked layers it depends, and counts operations by these bits."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.counted: dict[int, int] = {}
        self._counter = counter
        self._bits = WeakTensorMap[int]()

    def bits_of(self, values: Any) -> int:
        bits = 0
        for leaf in tree_leaves(values):
            bits |= self._bits.get(leaf) or 0
        return bits

    def put(self, values: Any, bits: int) -> None:
        for leaf in tree_leaves(values):
            if isinstance(leaf, Tensor):
                self._bits[leaf] = bits

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        bits = self.bits_of((args, kwargs))
        before = self._counter.get_total_flops()
        out = func(*args, **kwargs)
        done = self._counter.get_total_flops() - before
        if done:
            self.counted[bits] = self.counted.get(bits, 0) + done
        if bits:
            self.put(out, bits)
        return out
