"""Whatever a network returns → logits (N, K, h, w).

Networks return tensors, tuples, dicts and objects, of logits or of probabilities. `OutputSpec` says which map is
meant and what has been done to it; `to_logits` gives one form to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.errors import ModelError, OptionError
from interactify.inspection.activation import (
    Activation,
    BeforeActivation,
    applied,
    are_exclusive,
    convolution_depths,
    activation_from_values,
    activation_from_graph,
)

Output = str | int | Callable[[Any], Tensor] | None

# Names that main outputs go by, best first: torchvision, transformers, detection-like dicts.
_MAIN = ("out", "logits", "masks", "mask", "pred", "prediction", "output", "segmentation")
_DEEPEST = 4  # steps to a map: objects may lead back to themselves


@dataclass(frozen=True)
class OutputSpec:
    """Which map of a network's output is meant, and what it holds.

    `path` leads to it (keys, indices, attribute names), `classes` is K, `scale` its width over the input's, `sure` says
    how the activation is known, `bypassed` whether the logits are read before it, `others` names the other maps.
    """

    path: tuple[str | int, ...]
    classes: int
    activation: Activation
    scale: float
    sure: str
    picked_by: Callable[[Any], Tensor] | None = None
    bypassed: bool = False
    others: tuple[str, ...] = ()

    def pick(self, raw: Any, seen: BeforeActivation | None = None) -> tuple[Tensor, Activation]:
        """The map, (N, K, h, w), and what has been applied to it: nothing, where the pass was `seen` making it."""
        value = _picked(self.picked_by, raw, seen) if self.picked_by is not None else _follow(raw, self.path)
        if not isinstance(value, Tensor) or value.ndim not in (2, 3, 4):
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ModelError(
                f"Expected a map (N, K, H, W) at output {self.name!r}, got {found}. Choose it with output=…."
            )
        activation = self.activation
        if activation != "none" and seen is not None and (before := seen.before(value)) is not None:
            value, activation = before[0], "none"
        return _batched(value), activation

    @property
    def name(self) -> str:
        """The path as text: "out", "0", "" for a network that returns the map itself."""
        return ".".join(str(step) for step in self.path)


def locate_output(
    raw: Any,
    size: tuple[int, int],
    output: Output = None,
    activation: Activation | None = None,
    seen: BeforeActivation | None = None,
    again: Callable[[], Sequence[Any]] = tuple,
) -> OutputSpec:
    """Find the per-pixel map in what a network returned for an input of `size` (H, W).

    Args:
        raw: the network's output, made with gradients on, so that its last operation can be read.
        size: (H, W) of the input, not square, so that a map's sides can be told apart.
        output: a key, index or dotted path that names the map, or a callable from the raw output to it.
        activation: what has been applied to the map, where that is known.
        seen: the mode under which the network was run.
        again: runs the network on further images, where what it holds can only be judged by its values.

    Raises:
        ModelError: where there is no per-pixel map, or none at `output`.
    """
    others: list[str] = []
    if callable(output):
        chosen: tuple[tuple[str | int, ...], Any] = ((), _picked(output, raw, seen))
    elif output is not None:
        path = _path(output, raw)
        chosen = (path, _follow(raw, path))
    else:
        maps = [(path, value) for path, value in _leaves(raw) if _is_map(value, size)]
        if not maps:
            raise ModelError(
                f"Expected the network to return a per-pixel map (N, K, H, W) for an image of {size}; it returned "
                f"{describe_raw(raw)}. Wrap a segmentation network, or point at the map with output=…."
            )
        depths = convolution_depths([value for _, value in maps])
        ranked = [(_preference(*leaf, depth), leaf) for leaf, depth in zip(maps, depths, strict=True)]
        chosen = max(ranked, key=lambda item: item[0])[1]
        others = [".".join(map(str, path)) for path, _ in maps if path != chosen[0]]
    path, value = chosen
    if not isinstance(value, Tensor) or not _is_map(value, size):
        raise ModelError(f"output={output!r} leads to {describe_raw(value)}, not to a map (N, K, H, W) of {size}.")
    picked_by = output if callable(output) else None
    found = OutputSpec(path, 1, "none", value.shape[-1] / size[1], "", picked_by, others=tuple(others))
    return _with_activation(found, raw, value, activation, seen, again)


def _with_activation(
    found: OutputSpec,
    raw: Any,
    value: Tensor,
    given: Activation | None,
    seen: BeforeActivation | None,
    again: Callable[[], Sequence[Any]],
) -> OutputSpec:
    """Complete a spec by what has been applied to its map: given, seen, read from the graph, or judged."""
    before = seen.before(value) if seen is not None else None
    if before is not None and not _agree(*before, value):
        before = None  # changed since
    value = _batched(value)
    if given is not None:
        activation, sure = given, "as given"
    elif before is not None:
        activation, sure = before[1], "seen while it ran"
    elif (read := activation_from_graph(value)) is not None:
        activation, sure = read, "read from the graph"
    else:
        values = [value]
        if activation_from_values(values) != "none":
            values += [found.pick(another)[0] for another in again()]
        activation, sure = activation_from_values(values), f"judged by its values on {len(values)} images"
    if activation == "softmax" and not are_exclusive(value):
        activation = "sigmoid"  # some of the classes only: the probability of each is what is left
    bypassed = before is not None and before[1] == activation
    return replace(found, classes=value.shape[1], activation=activation, sure=sure, bypassed=bypassed)


def _agree(logits: Tensor, activation: Activation, value: Tensor) -> bool:
    """Whether a map is still what was seen to be made of these logits."""
    expected, tolerance = applied(logits, activation), max(1e-5, 2 * torch.finfo(value.dtype).eps)
    return expected.shape == value.shape and torch.allclose(expected.to(value.dtype), value, rtol=0, atol=tolerance)


def _batched(value: Tensor) -> Tensor:
    """A map (N, K, h, w), from (N, h, w), or from (K, h, w) or (h, w) where the batch of one was squeezed away."""
    if value.ndim == 2:
        return value[None, None]
    return value if value.ndim == 4 else value.unsqueeze(1 if value.shape[0] == 1 else 0)


def to_logits(spec: OutputSpec, raw: Any, seen: BeforeActivation | None = None) -> Tensor:
    """Logits (N, K, h, w) on the network's own grid, in float32 or better; differentiable.

    Where the pass was `seen`, they are read before the activation. Elsewhere probabilities are undone (log-odds for a
    sigmoid, logarithm for a softmax), clamped away from 0 and 1 by no more than their own precision has there.
    """
    value, activation = spec.pick(raw, seen)
    if value.dtype in (torch.float16, torch.bfloat16):
        value = value.float()
    if activation != "none":
        limits = torch.finfo(value.dtype)
        value = value.clamp(limits.tiny, 1 - limits.eps / 2)
        value = torch.logit(value) if activation == "sigmoid" else value.log()
    return value


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, K, H, W) of `size`, bilinearly; themselves where they have it.

    What is resized is the log-odds of one class, not the logits of all: of a thousand classes that is most of the work.
    """
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def describe_raw(raw: Any) -> str:
    """What a network returned, in a line."""
    if isinstance(raw, Tensor):
        return f"a tensor {tuple(raw.shape)}"
    inside = ", ".join(f"{'.'.join(map(str, p))}: {tuple(v.shape)}" for p, v in list(_leaves(raw))[:6])
    return f"{type(raw).__name__} ({inside or 'no tensors'})"


def _leaves(raw: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Tensor]]:
    if isinstance(raw, Tensor):
        yield path, raw
    elif isinstance(raw, Mapping):
        for key, value in raw.items():
            yield from _leaves(value, (*path, key))
    elif is_dataclass(raw) and not isinstance(raw, type):
        for field in fields(raw):
            yield from _leaves(getattr(raw, field.name), (*path, field.name))
    elif isinstance(raw, (tuple, list)):
        names = getattr(raw, "_fields", range(len(raw)))  # of a named tuple
        for name, value in zip(names, raw, strict=True):
            yield from _leaves(value, (*path, name))
    elif hasattr(raw, "__dict__") and not callable(raw) and len(path) < _DEEPEST:  # an object of the user's own
        for name, value in vars(raw).items():
            yield from _leaves(value, (*path, name))


def _picked(pick: Callable[[Any], Tensor], raw: Any, seen: BeforeActivation | None = None) -> Any:
    try:
        with seen or nullcontext():
            return pick(raw)
    except Exception as cause:  # the user's own function decides what it raises
        raise ModelError(
            f"output=… failed on what the network returned, {describe_raw(raw)}: {type(cause).__name__}: {cause}."
        ) from cause


def _path(output: object, raw: Any) -> tuple[str | int, ...]:
    """A name as steps. A key may itself hold dots or be a digit, so what is there decides where a step ends."""
    if isinstance(output, int) and not isinstance(output, bool):
        return (output,)
    if not isinstance(output, str):
        raise OptionError(f"Expected output to be a key, an index, a dotted path or a callable; got {output!r}.")
    if isinstance(raw, Mapping):
        keys = [key for key in raw if isinstance(key, str) and (output == key or output.startswith(f"{key}."))]
        step = max(keys, key=len, default=output.partition(".")[0])
    else:
        step = output.partition(".")[0]
    place: str | int = int(step) if step.isdigit() and not isinstance(raw, Mapping) else step
    rest = output[len(step) + 1 :]
    return (place, *_path(rest, _follow(raw, (place,)))) if rest else (place,)


def _follow(raw: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        try:
            raw = raw[step] if isinstance(raw, Mapping) or isinstance(step, int) else getattr(raw, step)
        except (KeyError, IndexError, AttributeError, TypeError):
            known = [".".join(map(str, p)) for p, _ in _leaves(raw)]
            raise ModelError(
                f"The network's output has no {step!r}; it has {', '.join(known[:8]) or describe_raw(raw)}."
            ) from None
    return raw


def _is_map(value: Tensor, size: tuple[int, int]) -> bool:
    if value.ndim not in (2, 3, 4) or not value.is_floating_point() or min(value.shape[-2:]) < 2:
        return False
    ratios = value.shape[-2] / size[0], value.shape[-1] / size[1]
    slack = 2.0 if value.ndim == 4 else 1.1  # fewer dimensions may be tokens or boxes
    return 1 / slack < ratios[0] / ratios[1] < slack


def _preference(path: tuple[str | int, ...], value: Tensor, depth: int) -> tuple[int, int, int, int]:
    """Named as main output, then large, then made of most (the fused one of side outputs), then early."""
    last = path[-1] if path else ""
    named = len(_MAIN) - _MAIN.index(last) if last in _MAIN else 0
    early = -sum(step for step in path if isinstance(step, int))
    return named, value.shape[-2] * value.shape[-1], depth, early
