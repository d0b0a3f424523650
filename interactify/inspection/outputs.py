"""From whatever a network returns to logits (N, K, h, w).

Networks return tensors, tuples, dicts and objects, of logits or of probabilities. `OutputSpec` tells
which map to take and which activation it has; `to_logits` brings all of them to one form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.errors import ModelError, OptionError, reason_of
from interactify.inspection.activation import (
    INDEPENDENT,
    PROBABILITIES,
    Activation,
    BeforeActivation,
    activation_from_graph,
    activation_from_values,
    are_exclusive,
    last_operation,
    may_have_either_sign,
    probabilities,
)
from interactify.inspection.maps import Map, Size, best_of, doubt_about_order, laid_out, map_from, maps_in
from interactify.inspection.objects import refuse_objects, refuse_whole_numbers, whole_numbers, whole_numbers_in
from interactify.inspection.raw_output import Path, describe_raw, follow, name_of, path_named

Output = str | int | Callable[[Any], Tensor] | None

_NEAR = 1e-3  # how far rounding and resizing may take a probability out of [0, 1]


@dataclass(frozen=True)
class OutputSpec:
    """Which map of a network's output is the segmentation, and what it contains.

    Attributes:
        path: leads to it: keys, indices, names of attributes.
        classes: K.
        activation: of the map.
        scale: its width over the input's.
        sure: how the activation is known.
        picked_by: the function that picks it, where the user gave one.
        bypassed: whether the logits are read before the activation.
        others: the other maps that the network returns, with their shapes.
        channels_last: whether it is (N, h, w, K) where the network returns it.
        doubts: what had to be guessed, each with what to write in `wrap` where the guess is wrong.
        sides: how many the map has: 2, or 3 for the map (N, K, d, h, w) of a volume.
    """

    path: tuple[str | int, ...]
    classes: int
    activation: Activation
    scale: float
    sure: str
    picked_by: Callable[[Any], Tensor] | None = None
    bypassed: bool = False
    others: tuple[str, ...] = ()
    channels_last: bool = False
    doubts: tuple[str, ...] = ()
    sides: int = 2

    @property
    def exclusive(self) -> bool:
        """Whether a pixel has one class only; False where each class has a sigmoid of its own."""
        return self.activation not in INDEPENDENT

    def pick(self, raw: Any, activations: BeforeActivation | None = None) -> tuple[Tensor, Activation]:
        """The map (N, K, h, w) and its activation: "none" where `activations` of the pass holds the logits."""
        value = _picked(self.picked_by, raw, activations) if self.picked_by is not None else follow(raw, self.path)
        if not isinstance(value, Tensor) or not self.sides <= value.ndim <= self.sides + 2:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ModelError(
                f"Expected a map (N, K, H, W) at output {self.name!r}, got {found}. Choose it with output=…."
            )
        activation = self.activation
        if activation in PROBABILITIES and activations is not None and (before := activations.logits_of(value)):
            value, activation = before[0], "none"
        return laid_out(value, self.channels_last, self.sides), activation

    @property
    def name(self) -> str:
        """The path as text: "out", "0", "" for a network that returns the map itself."""
        return name_of(self.path)


def locate_output(
    raw: Any,
    size: Size,
    output: Output = None,
    activation: Activation | None = None,
    activations: BeforeActivation | None = None,
    rerun: Callable[[], Sequence[Any]] = tuple,
) -> OutputSpec:
    """Find the per-pixel map in what a network returned for an input of `size` (H, W), or (D, H, W).

    Args:
        raw: the network's output for one image, computed with gradients on, so that its last operation can be read.
        size: of the input, not square, so that a map's sides can be distinguished.
        output: a key, index or dotted path that names the map, or a callable from the raw output to it.
        activation: of the map, where it is known.
        activations: the mode under which the network ran.
        rerun: runs the network on further images, where only the map's values can tell its activation.

    Raises:
        ModelError: where there is no per-pixel map, or none at `output`; for what finds objects; for integers.
        OptionError: where the map's values can't have come from `activation`.
    """
    others: tuple[str, ...] = ()
    doubts: list[str] = []
    if output is None:
        refuse_objects(raw, size)
        maps = maps_in(raw, size)
        if not maps:
            raise _no_map(raw, size)
        chosen, doubt = best_of(maps)
        others = tuple(each.text for each in maps if each is not chosen)
        doubts = [doubt, doubt_about_order(chosen)]
    elif callable(output):
        chosen = _stated(_picked(output, raw, activations), (), size, output)
    else:
        path = path_named(output, raw)
        chosen = _stated(follow(raw, path), path, size, output)
        doubts = [doubt_about_order(chosen)]
    refuse_whole_numbers(chosen.value)
    found = OutputSpec(
        path=chosen.path,
        classes=chosen.shape[0],
        activation="none",
        scale=chosen.shape[-1] / size[-1],
        sure="",
        picked_by=output if callable(output) else None,
        others=others,
        channels_last=chosen.channels_last,
        doubts=tuple(filter(None, doubts)),
        sides=len(size),
    )
    return _with_activation(found, chosen.value, activation, activations, rerun)


def _stated(value: Any, path: Path, size: Size, output: Output) -> Map:
    """The map that `output` leads to. What a function picks has its channels first wherever that can be."""
    if isinstance(value, Tensor) and not value.is_floating_point() and map_from(path, value, size):
        raise whole_numbers(f"{describe_raw(value)} of {str(value.dtype).removeprefix('torch.')}")
    found = map_from(path, value, size, first=callable(output)) if isinstance(value, Tensor) else None
    if found is None or not found.value.is_floating_point():
        raise ModelError(
            f"Expected output={output!r} to lead to a map (N, K, H, W) of {size}, got {describe_raw(value)}."
        )
    return found


def _no_map(raw: Any, size: Size) -> ModelError:
    decided = whole_numbers_in(raw, size)
    if decided:
        return whole_numbers(decided)
    return ModelError(
        f"Expected the network to return a per-pixel map (N, K, H, W) for an image of {size}; got "
        f"{describe_raw(raw)}. Wrap a segmentation network, or point at the map with output=…."
    )


def _with_activation(
    found: OutputSpec,
    raw_map: Tensor,
    given: Activation | None,
    activations: BeforeActivation | None,
    rerun: Callable[[], Sequence[Any]],
) -> OutputSpec:
    """Complete a spec by the activation of its map: given, observed, read from the graph, or judged by values."""
    value = laid_out(raw_map, found.channels_last, found.sides)
    before = activations.logits_of(raw_map) if activations is not None else None
    if before is not None and not _agree(laid_out(before[0], found.channels_last, found.sides), before[1], value):
        before = None  # the map was changed afterwards
    read = before[1] if before is not None else activation_from_graph(value)
    more: list[Tensor] = []

    def on_more_images() -> list[Tensor]:
        more.extend([] if more else [found.pick(another)[0] for another in rerun()])
        return [value, *more]

    if given is not None:
        activation, sure = given, "as given"
        if given in PROBABILITIES and read != given:
            _check_probabilities(given, on_more_images())
    elif read is not None:
        activation, sure = read, "seen while it ran" if before is not None else "read from the graph"
    else:
        values = [value] if activation_from_values([value]) == "none" else on_more_images()
        activation = activation_from_values(values)
        kinds = {"none": "no probabilities", "sigmoid": "all in [0, 1]", "softmax": "in [0, 1] and sum to 1"}
        sure = f"judged by its values, which are {kinds[activation]}"
    doubts = found.doubts
    if given is None and activation == "none":
        doubts = (*doubts, *_doubt_about_sign(value, on_more_images))
    if activation == "softmax" and not are_exclusive(value):
        activation = "sigmoid"  # only some of the classes are left: treat each by itself
    bypassed = before is not None and before[1] == activation
    return replace(found, activation=activation, sure=sure, bypassed=bypassed, doubts=doubts)


def _check_probabilities(given: Activation, values: Sequence[Tensor]) -> None:
    """Raise OptionError where maps (N, K, h, w) can't be the probabilities that `given` says they are."""
    values = [value.detach() for value in values if bool(value.isfinite().all())]
    least, most = _range(values)
    if least < -_NEAR or most > 1 + _NEAR:
        other = "" if values[0].shape[1] == 1 else ", or 'sigmoid-logits' if a pixel may have several of the classes"
        raise OptionError(
            f"Expected probabilities in [0, 1] for activation={given!r}, which says that the network itself applies a "
            f"{given}; got values from {least:.3g} to {most:.3g}. Try activation='none' for logits{other}."
        )
    if given == "softmax" and not all(are_exclusive(value) for value in values):
        raise OptionError(
            "Expected probabilities of all classes to sum to 1 for activation='softmax', got others. Try "
            "activation='sigmoid' if a pixel may have several of the classes, or none of them."
        )


def _doubt_about_sign(value: Tensor, on_more_images: Callable[[], list[Tensor]]) -> list[str]:
    """What to say of logits that are never negative, such as a depth, or never positive; nothing where they vary."""
    if may_have_either_sign(value) or not (bool((value >= 0).all()) or bool((value <= 0).all())):
        return []
    values = [each for each in on_more_images() if bool(each.isfinite().all())]
    least, most = _range(values)
    if least == most or least < 0 < most or (most <= 0 and all(are_exclusive(each.exp()) for each in values)):
        return []  # the logarithm of a softmax is as good as logits
    sign, last = ("negative" if least >= 0 else "positive"), last_operation(value)
    return [
        f"Took a map that is never {sign} (from {least:.3g} to {most:.3g}"
        f"{', the last operation is ' + last if last else ''}) for logits, which is a guess: a logit above 0 is an "
        "object, one below is none. Write activation='none' if that is right. If it is a depth, a distance or a score, "
        "turn it into logits, as by output=lambda raw: raw - 1.0 for an object above 1; or correct its numbers: "
        "interactify.wrap_values(model)."
    ]


def _range(values: Sequence[Tensor]) -> tuple[float, float]:
    """The least and the largest value of several maps; (0, 0) without any."""
    ends = [(float(value.detach().min()), float(value.detach().max())) for value in values]
    return min((least for least, _ in ends), default=0.0), max((most for _, most in ends), default=0.0)


def _agree(logits: Tensor, activation: Activation, value: Tensor) -> bool:
    """Whether a map still equals the activation of these logits."""
    expected, tolerance = probabilities(logits, activation), max(1e-5, 2 * torch.finfo(value.dtype).eps)
    return expected.shape == value.shape and torch.allclose(expected.to(value.dtype), value, rtol=0, atol=tolerance)


def to_logits(spec: OutputSpec, raw: Any, activations: BeforeActivation | None = None) -> Tensor:
    """Logits (N, K, h, w) on the network's own grid, in float32 or better; differentiable.

    With `activations` of the pass, they are read before the activation. Without, the activation is inverted (log-odds
    for a sigmoid, logarithm for a softmax), with probabilities clamped to the numbers nearest to 0 and 1.
    """
    value, activation = spec.pick(raw, activations)
    if value.dtype in (torch.float16, torch.bfloat16):
        value = value.float()
    if activation in PROBABILITIES:
        limits = torch.finfo(value.dtype)
        value = value.clamp(limits.tiny, 1 - limits.eps / 2)
        value = torch.logit(value) if activation == "sigmoid" else value.log()
    return value


def resized(maps: Tensor, size: Size) -> Tensor:
    """Maps (N, K, H, W) resized bilinearly to `size`, of volumes trilinearly; the same tensor where they have it.

    Called with the log-odds of one class, not the logits of all: resizing a thousand classes would be most of the work.
    """
    if tuple(maps.shape[2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear" if len(size) == 2 else "trilinear", align_corners=False)


def _picked(pick: Callable[[Any], Tensor], raw: Any, activations: BeforeActivation | None = None) -> Any:
    try:
        with activations or nullcontext():
            return pick(raw)
    except Exception as cause:  # the user's own function decides what it raises
        raise ModelError(
            f"Expected output=… to pick a map from {describe_raw(raw)}, got {reason_of(cause)}."
        ) from cause
