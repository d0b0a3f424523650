"""What a network returned, whatever its form: the tensors in it, and the paths that lead to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from interactify.errors import ModelError, OptionError

Path = tuple[str | int, ...]
"""Keys, indices and names of attributes, from what the network returned to a tensor in it."""

_DEEPEST = 4  # the most steps to a tensor: objects may refer to themselves


def leaves_of(raw: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """All tensors in tensors, tuples, dicts, dataclasses, named tuples and other objects, with their paths.

    >>> [(name_of(path), tuple(leaf.shape)) for path, leaf in leaves_of({"a": [torch.zeros(2), None]})]
    [('a.0', (2,))]
    """
    if isinstance(raw, Tensor):
        yield path, raw
    elif isinstance(raw, Mapping):
        for key, value in raw.items():
            yield from leaves_of(value, (*path, key))
    elif is_dataclass(raw) and not isinstance(raw, type):
        for field in fields(raw):
            yield from leaves_of(getattr(raw, field.name), (*path, field.name))
    elif isinstance(raw, (tuple, list)):
        names = getattr(raw, "_fields", range(len(raw)))  # a named tuple's
        for name, value in zip(names, raw, strict=True):
            yield from leaves_of(value, (*path, name))
    elif hasattr(raw, "__dict__") and not callable(raw) and len(path) < _DEEPEST:  # an object of the user's own
        for name, value in vars(raw).items():
            yield from leaves_of(value, (*path, name))


def name_of(path: Path) -> str:
    """A path as text: "out", "0.features"; "" for what the network returns itself."""
    return ".".join(map(str, path))


def option_for(path: Path) -> str:
    """What to write in `wrap` for a path: `output=1`, `output="features"`; as an expression where it is the whole."""
    return f"output={path[0]}" if len(path) == 1 and isinstance(path[0], int) else f'output="{name_of(path)}"'


def path_named(output: object, raw: Any) -> Path:
    """A name as a path. A key may contain dots or be a digit, so the output's own keys decide where a step ends.

    Raises:
        OptionError: for what is no name.
        ModelError: if a step before the last one leads nowhere.
    """
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
    return (first, *path_named(rest, follow(raw, (first,)))) if rest else (first,)


def follow(raw: Any, path: Sequence[str | int]) -> Any:
    """What a path leads to. Raises ModelError, with the paths that there are, where it leads nowhere."""
    for step in path:
        try:
            raw = raw[step] if isinstance(raw, Mapping) or isinstance(step, int) else getattr(raw, step)
        except (KeyError, IndexError, AttributeError, TypeError):
            known = [name_of(p) for p, _ in leaves_of(raw)]
            raise ModelError(
                f"Expected {step!r} in the network's output, got {', '.join(known[:8]) or describe_raw(raw)}."
            ) from None
    return raw


def describe_raw(raw: Any) -> str:
    """What a network returned, in a line."""
    if isinstance(raw, Tensor):
        return f"a tensor {tuple(raw.shape)}"
    inside = ", ".join(f"{name_of(p)}: {tuple(v.shape)}" for p, v in list(leaves_of(raw))[:6])
    return f"{type(raw).__name__} ({inside or 'no tensors'})"
