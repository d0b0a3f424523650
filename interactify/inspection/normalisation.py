"""Mean and standard deviation of the images a network reads, and where they come from.

The first of these that is known: the user, the network's own configuration, arithmetic inside the network before its
first convolution, what is usual in its family, ImageNet's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interactify.errors import OptionError
from interactify.inspection.image_flow import StemSearch
from interactify.inspection.spec import Knowledge, ModelSpec

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BYTES = 50.0  # arithmetic with a constant above this is for pixels from 0 to 255


@dataclass(frozen=True)
class Normalisation:
    """`mean` and `std` per channel, for images in [0, 1]; `source` for `describe()`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


def normalisation_of(
    channels: int, given: Knowledge, known: Knowledge, search: StemSearch, *, volumes: bool = False
) -> Normalisation:
    """Combine what the user (`given`) and the adapter (`known`) state with what the run (`search`) found.

    Those of a network of `volumes` are in the units of its voxels, and by default leave them as they are.

    Raises:
        OptionError: for an invalid mean or std.
    """
    mean, std, source = _default(channels, known, search, volumes)
    if given.mean is not None and given.std is not None:
        source = "given"
    elif given.mean is not None or given.std is not None:
        named, other = ("mean", "std") if given.std is None else ("std", "mean")
        source = f"{named} given; {other}: {source}"
    mean = _per_channel("mean", mean if given.mean is None else given.mean, channels)
    std = _per_channel("std", std if given.std is None else given.std, channels)
    if 0 in std:
        raise OptionError(
            f"Expected std other than 0 for each channel, got {std}. Try mean=0, std=1 for pixels in [0, 1] as they "
            "are, or mean=1, std=-1 for 1 - x."
        )
    return Normalisation(mean, std, source)


def _default(
    channels: int, known: Knowledge, search: StemSearch, volumes: bool
) -> tuple[Sequence[float] | float, Sequence[float] | float, str]:
    stated = None
    if known.mean is not None and known.std is not None and _fits(known.mean, channels) and _fits(known.std, channels):
        stated = known.mean, known.std, known.normalisation or f"{known.family}'s"
    if stated is not None and known.whole:
        return stated
    if volumes:
        return stated or (0.0, 1.0, "voxels as they are, assumed: give mean=, std= if not")
    inside = search.arithmetic
    scaled_down = [name for name, constant in inside if name.startswith("mul") and 0 < constant < 1 / _BYTES]
    if scaled_down or any(name.startswith(("sub", "div", "true_divide")) for name, _ in inside):
        first, constant = inside[0]
        scaled_up = first.startswith("mul") and constant > _BYTES
        bytes_ = not scaled_up and (bool(scaled_down) or any(constant > _BYTES for _, constant in inside))
        names = " and ".join(dict.fromkeys(name for name, _ in inside))
        reads = "pixels from 0 to 255" if bytes_ else "pixels in [0, 1]"
        return (
            0.0,
            1 / 255 if bytes_ else 1.0,
            f"it normalises inside: {names} before its first convolution; {reads}",
        )
    if stated is not None:
        return stated
    if channels == 3:
        return *IMAGENET, "ImageNet's, assumed: give mean=, std= if yours differ"
    return 0.0, 1.0, "images in [0, 1], assumed: give mean=, std= if not"


def assumption(spec: ModelSpec, name: str) -> str:
    """What to tell the user of a network called `name` where nothing states its normalisation; "" where it is known."""
    if not spec.normalisation_is_assumed:
        return ""
    mean, std = (_written(values) for values in (spec.mean, spec.std))
    if spec.sides == 3:
        return (
            f"Assumed voxels as they are, not normalised, as the input of {name}: nothing states it, and with a wrong "
            f"one masks are much worse. Write mean={mean}, std={std} in wrap() if this is right, or what is right, in "
            "the units of your volumes; value_range=(low, high) first brings these two values to 0 and 1."
        )
    if (spec.mean, spec.std) == IMAGENET:
        what = "ImageNet's mean and deviation as the normalisation"
    elif not any(spec.mean) and set(spec.std) == {1.0}:
        what = "pixels in [0, 1], not normalised, as the input"
    else:
        what = "what is usual in its family as the normalisation"
    return (
        f"Assumed {what} of {name}: nothing states it, and with a wrong one masks are much worse. "
        f"Write mean={mean}, std={std} in wrap() (--mean, --std) if this is right, or what is right. "
        "net.check_normalisation(photos) (interactify inspect --photos FOLDER) compares the usual ones."
    )


def _written(values: Sequence[float]) -> str:
    """Values for all channels as they are written in `wrap`: one number where all are the same.

    >>> _written((0.485, 0.456, 0.406)), _written((0.5, 0.5, 0.5))
    ('(0.485, 0.456, 0.406)', '0.5')
    """
    short = tuple(float(f"{value:.4g}") for value in values)
    return repr(short[0]) if len(set(short)) == 1 else repr(short)


def _fits(values: Sequence[float] | float, channels: int) -> bool:
    return isinstance(values, (int, float)) or len(values) == channels


def _per_channel(name: str, value: Sequence[float] | float, channels: int) -> tuple[float, ...]:
    try:
        values = (float(value),) * channels if isinstance(value, (int, float)) else tuple(float(v) for v in value)
    except (TypeError, ValueError):
        raise OptionError(f"Expected {name} to be a number or {channels} of them, got {value!r}.") from None
    if len(values) != channels or not all(abs(v) < float("inf") for v in values):
        raise OptionError(f"Expected {name} to have {channels} finite values, one for each channel; got {value!r}.")
    return values
