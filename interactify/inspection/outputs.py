"""From whatever a network returns to logits (N, K, h, w).

Networks return tensors, tuples, dicts and objects, of logits or of probabilities. `OutputSpec` tells
which map to take and which activation it has; `to_logits` brings all of them to one form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.errors import ModelError, OptionError, reason_of
from interactify.inspection.activation import (
    Activation,
    BeforeActivation,
    activation_from_graph,
    activation_from_values,
    are_exclusive,
    convolution_depths,
    probabilities,
)

Output = str | int | Callable[[Any], Tensor] | None

# Usual names of main outputs, best first: torchvision, transformers, detection-like dicts.
_MAIN = ("out", "logits", "masks", "mask", "pred", "prediction", "output", "segmentation")
_DEEPEST = 4  # the most steps to a map: objects may refer to themselves


@dataclass(frozen=True)
class OutputSpec:
    """Which map of a network's output is the segmentation, and what it contains.

    `path` leads to it (keys, indices, attribute names), `classes` is K, `scale` its width over the input's, `sure` how
    the activation is known, `bypassed` whether the logits are read before it, `others` names the other maps.
    """

    path: tuple[str | int, ...]
    classes: int
    activation: Activation
    scale: float
    sure: str
    picked_by: Callable[[Any], Tensor] | None = None
    bypassed: bool = False
    others: tuple[str, ...] = ()

    def pick(self, raw: Any, activations: BeforeActivation | None = None) -> tuple[Tensor, Activation]:
        """The map (N, K, h, w) and its activation: "none" where `activations` of the pass holds the logits."""
        value = _picked(self.picked_by, raw, activations) if self.picked_by is not None else _follow(raw, self.path)
        if not isinstance(value, Tensor) or value.ndim not in (2, 3, 4):
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ModelError(
                f"Expected a map (N, K, H, W) at output {self.name!r}, got {found}. Choose it with output=…."
            )
        activation = self.activation
        if activation != "none" and activations is not None and (before := activations.logits_of(value)) is not None:
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
    activations: BeforeActivation | None = None,
    rerun: Callable[[], Sequence[Any]] = tuple,
) -> OutputSpec:
    """Find the per-pixel map in what a network returned for an input of `size` (H, W).

    Args:
        raw: the network's output, computed with gradients on, so that its last operation can be read.
        size: (H, W) of the input, not square, so that a map's sides can be distinguished.
        output: a key, index or dotted path that names the map, or a callable from the raw output to it.
        activation: of the map, where it is known.
        activations: the mode under which the network ran.
        rerun: runs the network on further images, where only the map's values can tell its activation.

    Raises:
        ModelError: where there is no per-pixel map, or none at `output`.
    """
    others: list[str] = []
    if callable(output):
        chosen: tuple[tuple[str | int, ...], Any] = ((), _picked(output, raw, activations))
    elif output is not None:
        path = _path(output, raw)
        chosen = (path, _follow(raw, path))
    else:
        maps = [(path, value) for path, value in _leaves(raw) if _is_map(value, size)]
        if not maps:
            raise ModelError(
                f"Expected the network to return a per-pixel map (N, K, H, W) for an image of {size}; got "
                f"{describe_raw(raw)}. Wrap a segmentation network, or point at the map with output=…."
            )
        depths = convolution_depths([value for _, value in maps])
        ranked = [(_preference(*leaf, depth), leaf) for leaf, depth in zip(maps, depths, strict=True)]
        chosen = max(ranked, key=lambda item: item[0])[1]
        others = [".".join(map(str, path)) for path, _ in maps if path != chosen[0]]
    path, value = chosen
    if not isinstance(value, Tensor) or not _is_map(value, size):
        raise ModelError(
            f"Expected output={output!r} to lead to a map (N, K, H, W) of {size}, got {describe_raw(value)}."
        )
    picked_by = output if callable(output) else None
    found = OutputSpec(path, 1, "none", value.shape[-1] / size[1], "", picked_by, others=tuple(others))
    return _with_activation(found, raw, value, activation, activations, rerun)


def _with_activation(
    found: OutputSpec,
    raw: Any,
    value: Tensor,
    given: Activation | None,
    activations: BeforeActivation | None,
    rerun: Callable[[], Sequence[Any]],
) -> OutputSpec:
    """Complete a spec by the activation of its map: given, observed, read from the graph, or judged by values."""
    before = activations.logits_of(value) if activations is not None else None
    if before is not None and not _agree(*before, value):
        before = None  # the map was changed afterwards
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
            values += [found.pick(another)[0] for another in rerun()]
        activation, sure = activation_from_values(values), f"judged by its values on {len(values)} images"
    if activation == "softmax" and not are_exclusive(value):
        activation = "sigmoid"  # only some of the classes are left: treat each by itself
    bypassed = before is not None and before[1] == activation
    return replace(found, classes=value.shape[1], activation=activation, sure=sure, bypassed=bypassed)


def _agree(logits: Tensor, activation: Activation, value: Tensor) -> bool:
    """Whether a map still equals the activation of these logits."""
    expected, tolerance = probabilities(logits, activation), max(1e-5, 2 * torch.finfo(value.dtype).eps)
    return expected.shape == value.shape and torch.allclose(expected.to(value.dtype), value, rtol=0, atol=tolerance)


def _batched(value: Tensor) -> Tensor:
    """A map as (N, K, h, w), from (N, h, w), or from (K, h, w) or (h, w) without the batch dimension."""
    if value.ndim == 2:
        return value[None, None]
    return value if value.ndim == 4 else value.unsqueeze(1 if value.shape[0] == 1 else 0)


def to_logits(spec: OutputSpec, raw: Any, activations: BeforeActivation | None = None) -> Tensor:
    """Logits (N, K, h, w) on the network's own grid, in float32 or better; differentiable.

    With `activations` of the pass, they are read before the activation. Without, the activation is inverted (log-odds
    for a sigmoid, logarithm for a softmax), with probabilities clamped to the numbers nearest to 0 and 1.
    """
    value, activation = spec.pick(raw, activations)
    if value.dtype in (torch.float16, torch.bfloat16):
        value = value.float()
    if activation != "none":
        limits = torch.finfo(value.dtype)
        value = value.clamp(limits.tiny, 1 - limits.eps / 2)
        value = torch.logit(value) if activation == "sigmoid" else value.log()
    return value


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, K, H, W) resized bilinearly to `size`; the same tensor where they have it.

    Called with the log-odds of one class, not the logits of all: resizing a thousand classes would be most of the work.
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
        names = getattr(raw, "_fields", range(len(raw)))  # a named tuple's
        for name, value in zip(names, raw, strict=True):
            yield from _leaves(value, (*path, name))
    elif hasattr(raw, "__dict__") and not callable(raw) and len(path) < _DEEPEST:  # an object of the user's own
        for name, value in vars(raw).items():
            yield from _leaves(value, (*path, name))


def _picked(pick: Callable[[Any], Tensor], raw: Any, activations: BeforeActivation | None = None) -> Any:
    try:
        with activations or nullcontext():
            return pick(raw)
    except Exception as cause:  # the user's own function decides what it raises
        raise ModelError(
            f"Expected output=… to pick a map from {describe_raw(raw)}, got {reason_of(cause)}."
        ) from cause


def _path(output: object, raw: Any) -> tuple[str | int, ...]:
    """A name as steps. A key may contain dots or be a digit, so the output's own keys decide where a step ends."""
    if isinstance(output, int) and not isinstance(output, bool):
        return (output,)
    if not isinstance(output, str):
        raise OptionError(f"Expected output to be a key, an index, a dotted path or a callable; got {output!r}.")
    if isinstance(raw, Mapping):
        keys = [key for key in raw if isinstance(key, str) and (output == key or output.startswith(f"{key}."))]
        step = max(keys, key=len, default=output.partition(".")[0])
    else:
        step = output.partition(".")[0]
    first: str | int = int(step) if step.isdigit() and not isinstance(raw, Mapping) else step
    rest = output[len(step) + 1 :]
    return (first, *_path(rest, _follow(raw, (first,)))) if rest else (first,)


def _follow(raw: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        try:
            raw = raw[step] if isinstance(raw, Mapping) or isinstance(step, int) else getattr(raw, step)
        except (KeyError, IndexError, AttributeError, TypeError):
            known = [".".join(map(str, p)) for p, _ in _leaves(raw)]
            raise ModelError(
                f"Expected {step!r} in the network's output, got {', '.join(known[:8]) or describe_raw(raw)}."
            ) from None
    return raw


def _is_map(value: Tensor, size: tuple[int, int]) -> bool:
    if value.ndim not in (2, 3, 4) or not value.is_floating_point() or min(value.shape[-2:]) < 2:
        return False
    ratios = value.shape[-2] / size[0], value.shape[-1] / size[1]
    slack = 2.0 if value.ndim == 4 else 1.1  # fewer dimensions may be tokens or boxes
    return 1 / slack < ratios[0] / ratios[1] < slack


def _preference(path: tuple[str | int, ...], value: Tensor, depth: int) -> tuple[int, int, int, int]:
    """By name, then size, then depth (the fused map among side outputs), then position."""
    last = path[-1] if path else ""
    named = len(_MAIN) - _MAIN.index(last) if last in _MAIN else 0
    early = -sum(step for step in path if isinstance(step, int))
    return named, value.shape[-2] * value.shape[-1], depth, early
