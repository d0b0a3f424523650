"""Whatever a network returns → logits (N, K, h, w) of the size of its input.

Networks return tensors, tuples, dicts and objects, of logits or of probabilities. `OutputSpec` says which map is
meant and what has been done to it; `to_logits` gives one form to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.errors import ModelError, OptionError

Activation = Literal["none", "sigmoid", "softmax"]
Output = str | int | Callable[[Any], Tensor] | None

# Names that main outputs go by, best first: torchvision, transformers, detection-like dicts.
_MAIN = ("out", "logits", "masks", "mask", "pred", "prediction", "output", "segmentation")
_MOVES_ONLY = (
    *("View", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Select", "Permute", "Transpose", "Clone", "Alias"),
    *("Upsample", "ToCopy", "Expand", "Constant", "Unsafe", "Index", "Split", "Clamp"),
)
# Operations that may put probabilities together by hand: what they give is judged by its values.
_MAY_KEEP = ("Cat", "Stack", "Mul", "Div", "Mean", "Add", "Sub", "Rsub")


@dataclass(frozen=True)
class OutputSpec:
    """Which map of a network's output is meant, and what it holds.

    `path` leads to it (keys, indices, attribute names), `classes` is K, `scale` its width over the input's,
    `sure` says how the activation is known.
    """

    path: tuple[str | int, ...]
    classes: int
    activation: Activation
    scale: float
    sure: str
    picked_by: Callable[[Any], Tensor] | None = None

    def pick(self, raw: Any) -> Tensor:
        """The map itself, (N, K, h, w), as the network returned it."""
        value = _picked(self.picked_by, raw) if self.picked_by is not None else _follow(raw, self.path)
        if not isinstance(value, Tensor) or value.ndim not in (3, 4):
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ModelError(
                f"Expected a map (N, K, H, W) at output {self.name!r}, got {found}. Choose it with output=…."
            )
        return value if value.ndim == 4 else value.unsqueeze(1)

    @property
    def name(self) -> str:
        """The path as text: "out", "0", "" for a network that returns the map itself."""
        return ".".join(str(step) for step in self.path)


def locate_output(raw: Any, size: tuple[int, int], output: Output = None) -> OutputSpec:
    """Find the per-pixel map in what a network returned for an input of `size` (H, W).

    Args:
        raw: the network's output, made with gradients on, so that its last operation can be read.
        size: (H, W) of the input, not square, so that a map's sides can be told apart.
        output: a key, index or dotted path that names the map, or a callable from the raw output to it.

    Raises:
        ModelError: where there is no per-pixel map, or none at `output`.
    """
    if callable(output):
        chosen: tuple[tuple[str | int, ...], Any] = ((), _picked(output, raw))
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
        chosen = max(maps, key=lambda item: _preference(*item))
    path, value = chosen
    if not isinstance(value, Tensor) or not _is_map(value, size):
        raise ModelError(f"output={output!r} leads to {describe_raw(value)}, not to a map (N, K, H, W) of {size}.")
    value = value if value.ndim == 4 else value.unsqueeze(1)
    activation, sure = _activation_of(value)
    picked_by = output if callable(output) else None
    return OutputSpec(path, value.shape[1], activation, value.shape[-1] / size[1], sure, picked_by)


def to_logits(spec: OutputSpec, raw: Any, size: tuple[int, int]) -> Tensor:
    """Logits (N, K, H, W) at the network's input size, in float32 or better; differentiable.

    Probabilities are undone (log-odds for a sigmoid, logarithm for a softmax), clamped away from 0 and 1 by no more
    than their own precision has there. Smaller maps are resized bilinearly.
    """
    value = spec.pick(raw)
    if value.dtype in (torch.float16, torch.bfloat16):
        value = value.float()
    if spec.activation != "none":
        limits = torch.finfo(value.dtype)
        value = value.clamp(limits.tiny, 1 - limits.eps / 2)
        value = torch.logit(value) if spec.activation == "sigmoid" else value.log()
    if tuple(value.shape[-2:]) != size:
        value = F.interpolate(value, size=size, mode="bilinear", align_corners=False)
    return value


def target_logit(logits: Tensor, target: int | None, activation: Activation) -> Tensor:
    """Log-odds (N, 1, H, W) of one class against the rest, from logits (N, K, H, W).

    K = 1: the logit itself. Exclusive classes: z_k − logsumexp of the others. After a sigmoid on each class
    (multi-label): z_k alone. `target=None` means everything but class 0, the background of most label sets.
    """
    classes = logits.shape[1]
    if classes == 1:
        return logits
    if activation == "sigmoid":
        return logits[:, 1:].amax(1, keepdim=True) if target is None else logits[:, target : target + 1]
    if target is None:
        return logits[:, 1:].logsumexp(1, keepdim=True) - logits[:, :1]
    others = [k for k in range(classes) if k != target]
    return logits[:, target : target + 1] - logits[:, others].logsumexp(1, keepdim=True)


def check_target(target: object, classes: int) -> int | None:
    """A class index within range, or None.

    Raises:
        OptionError: for anything else.
    """
    if target is None:
        return None
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < max(classes, 1):
        raise OptionError(f"Expected target to be a class index from 0 to {classes - 1}, or None; got {target!r}.")
    return target


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
        for index, value in enumerate(raw):
            yield from _leaves(value, (*path, index))


def _picked(pick: Callable[[Any], Tensor], raw: Any) -> Any:
    try:
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
    if value.ndim not in (3, 4) or not value.is_floating_point() or min(value.shape[-2:]) < 2:
        return False
    if value.ndim == 3 and value.shape[0] != 1:
        return False
    ratios = value.shape[-2] / size[0], value.shape[-1] / size[1]
    return 0.5 < ratios[0] / ratios[1] < 2


def _preference(path: tuple[str | int, ...], value: Tensor) -> tuple[int, int, int]:
    """Named as main output, then large, then early."""
    last = path[-1] if path else ""
    named = len(_MAIN) - _MAIN.index(last) if last in _MAIN else 0
    early = -sum(step for step in path if isinstance(step, int))
    return named, value.shape[-2] * value.shape[-1], early


def _activation_of(value: Tensor) -> tuple[Activation, str]:
    """Read the last operation that changed values from the autograd graph; else judge by the values' range."""
    node = value.grad_fn
    for _ in range(12):
        if node is None:
            break
        name = type(node).__name__
        if name.startswith("Sigmoid"):
            return "sigmoid", "read from the graph"
        if name.startswith("Softmax"):
            return "softmax", "read from the graph"
        if name.startswith(_MAY_KEEP):
            break
        if not name.startswith(_MOVES_ONLY) or not node.next_functions:
            return "none", "read from the graph"
        node = node.next_functions[0][0]
    probability = bool(((value >= 0) & (value <= 1)).all()) and bool(value.max() > value.min())
    if not probability:
        return "none", "judged by the range of its values"
    sums = value.sum(1)
    exclusive = value.shape[1] > 1 and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)
    return ("softmax" if exclusive else "sigmoid"), "judged by the range of its values"
