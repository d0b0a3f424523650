"""What nobody should pass, and some do: values of every wrong type, size, shape and temper, drawn from a seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image

HEIGHT, WIDTH = 24, 32
HUGE = 10**5000  # too long to be written down: even saying what came fails


class Touchy:
    """Raises an error of its own wherever it is touched."""

    def _raise(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("do not touch")

    __repr__ = __len__ = __iter__ = __getitem__ = __array__ = __float__ = __index__ = __int__ = __fspath__ = _raise
    __bool__ = __eq__ = __ne__ = __lt__ = __gt__ = _raise
    __hash__ = object.__hash__
    ndim = property(_raise)
    shape = property(_raise)


class Lying:
    """Says that it is a number without dimensions, and is none."""

    ndim = 0

    def item(self) -> Any:
        raise ValueError("no item")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return "no array"


def _numpy_scalars() -> list[Any]:
    kinds = "?bBhHiIlLqQefdgFDG"
    found = [np.dtype(kind).type(value) for kind in kinds for value in (0, 1, 7)]
    found += [np.dtype(kind).type(value) for kind in "efdgFD" for value in ("nan", "inf", "-inf")]
    found += [np.float64(1e308), np.longdouble("1e4000"), np.uint64(2**64 - 1), np.int64(-(2**63)), np.int8(-1)]
    found += [np.str_("7"), np.bytes_(b"7"), np.void(b"7"), np.datetime64("2020-01-01"), np.datetime64("NaT")]
    return [*found, np.timedelta64(3, "s"), np.timedelta64(3, "ns"), np.timedelta64("NaT")]


SCALARS: list[Any] = [
    None, True, False, 0, 1, -1, 7, 7.4, -0.5, -0.51, 23.49, 31.5, 1e9, -1e9, 1e308, 5e-324, 2**63, -(2**64), HUGE,
    -HUGE, float("nan"), float("inf"), -float("inf"), 1j, Fraction(7, 2), Fraction(HUGE, 3), Decimal("7"),
    Decimal("NaN"), "", "7", "clicked", "x" * 5000, "\ud800", "\0", b"", b"7", bytearray(b"7"), [], [7], [[]], [[[7]]],
    (), (7, 8), {}, {"x": 7}, {7}, range(3), object(), object, int, len, Touchy(), Lying(), Path("x"), slice(1, 2),
    itertools.count(), memoryview(b"7"), np.zeros(()), np.array(7), np.array([7]), np.array([1, 2]), np.zeros((0, 2)),
    np.array(None), np.array(["a", "b"]), np.full((2, 2), np.nan), np.zeros((), "i4,f8"),
    torch.tensor(7), torch.tensor(7.4), torch.tensor([7]), torch.tensor(float("nan")), torch.tensor(True),
    torch.tensor(1j), torch.ones(2, 2, requires_grad=True), torch.empty((), device="meta"), torch.eye(2).to_sparse(),
    torch.tensor(3.0, dtype=torch.bfloat16), torch.tensor(3.0, requires_grad=True), *_numpy_scalars(),
]  # fmt: skip

NAMES: list[Any] = [
    "cat", "object 1", "object 2", "Katze ß", "猫", "🐈\u200d⬛", "e\u0301", "x" * 200, "x" * 201, "", " ", "\t",
    "a\nb", "\u202ereversed", "\x1b[31m", "road",
]  # fmt: skip

PATHS: list[Any] = [
    "s.npz", "other.npz", Path("s.npz"), "kitten.png", "", ".", "..", "/", "nowhere/s.npz", "s.npz/below", "x" * 250,
    "x" * 5000, "a\0b", "\udcff.npz", "\ud800.npz", "pipe", "folder", "猫.npz", "*.npz", "~", "http://x/s.npz", "-",
]  # fmt: skip


def point(random: Random) -> Any:
    """A place in the photo, or beside it, or none."""
    if random.random() < 0.9:
        return random.randrange(WIDTH), random.randrange(HEIGHT)
    beside = [(-1, 3), (WIDTH, 3), (3, HEIGHT), (1e300, 1)]
    return random.choice([*beside, (3,), (3, 4, 5), scalar(random), (3, scalar(random))])


def points(random: Random) -> Any:
    """A polyline: as a rule a good one, at times one that crosses itself, has no length, or is nothing of the kind."""
    kind = random.random()
    if kind < 0.15:
        return scalar(random)
    if kind < 0.3:
        crossing, flat = [(0, 0), (31, 23), (31, 0), (0, 23)], [(0, 3), (31, 3), (5, 3)]
        return random.choice([[], [(5, 5)], [(5, 5)] * 4, crossing, flat])
    found = [point(random) for _ in range(random.randrange(1, 7))]
    return found if kind < 0.8 else random.choice([tuple, iter, _as_array, _as_tensor])(found)


def _as_array(found: list[Any]) -> Any:
    return np.array(found, float) if _plain(found) else np.array(None)


def _as_tensor(found: list[Any]) -> Any:
    return torch.tensor(found) if _plain(found) else torch.zeros(3)


def _plain(found: list[Any]) -> bool:
    return all(
        isinstance(each, tuple) and len(each) == 2 and all(type(x) is int and abs(x) < 2**31 for x in each)
        for each in found
    )


def mask(random: Random) -> Any:
    """A mask of the photo's size, of any dtype, or another array."""
    kind = random.random()
    if kind < 0.2:
        return scalar(random)
    others = [(WIDTH, HEIGHT), (1, HEIGHT, WIDTH), (HEIGHT,), (0, 0), (HEIGHT, WIDTH, 3)]
    shape = (HEIGHT, WIDTH) if kind < 0.8 else random.choice(others)
    drawn = np.random.default_rng(random.randrange(10**6)).random(shape) < random.choice([0, 0.1, 0.5, 1.1])
    made: Callable[[Any], Any] = random.choice(
        [
            np.asarray, np.asarray, np.asfortranarray, lambda m: m.astype(np.uint8) * 255, lambda m: m.astype(float),
            lambda m: np.where(m, np.nan, 0.0), lambda m: m * 2, lambda m: m.astype(object), lambda m: m.astype("U1"),
            lambda m: m.astype(complex), lambda m: m.astype("M8[s]"), lambda m: m.tolist(), torch.from_numpy,
            lambda m: torch.from_numpy(m).float().requires_grad_(), lambda m: np.ma.masked_array(m, m),
            lambda m: np.where(m, np.inf, 0).astype(np.float16), lambda m: memoryview(np.ascontiguousarray(m)),
        ]
    )  # fmt: skip
    return made(drawn)


def scalar(random: Random) -> Any:
    """Anything at all."""
    return random.choice(SCALARS)


def or_odd(random: Random, good: Any, share: float = 0.12) -> Any:
    """What is good, or now and then anything at all."""
    return scalar(random) if random.random() < share else good


def json_like(random: Random, good: dict[str, Any]) -> Any:
    """A stored interaction with something missing, added, changed, or in its place."""
    found: dict[Any, Any] = dict(good)
    kind = random.random()
    if kind < 0.1:
        return scalar(random)
    if kind < 0.2:
        found.pop(random.choice(list(found)))
    elif kind < 0.3:
        found[random.choice(["more", "", 3, None, Touchy(), "rle", "points", "mask"])] = scalar(random)
    elif kind < 0.7:
        found[random.choice(list(found))] = scalar(random)
    return found


def photo(random: Random, good: Any) -> Any:
    """A photo as it should be, in every form that there is, and in some that there are not."""
    tensor = torch.from_numpy(good).permute(2, 0, 1)
    forms: list[Callable[[], Any]] = [
        lambda: good / 255, lambda: good.astype(random.choice("?bBhHiIlqefdgFDGOUMm")), lambda: good[::-1, ::-1],
        lambda: np.asfortranarray(good), lambda: good[..., :2], lambda: good[..., [0, 1, 2, 0]], lambda: good[:0],
        lambda: good[..., 0], lambda: good.tolist(), lambda: np.where(good > 99, np.nan, 0.5), lambda: good * 2.5,
        lambda: np.ma.masked_array(good, good > 99), lambda: tensor, lambda: tensor / 255, lambda: tensor.to_sparse(),
        lambda: tensor.to("meta"), lambda: tensor.float() / 255 * torch.ones((), requires_grad=True),
        lambda: tensor.to(random.choice([torch.int64, torch.complex64, torch.bfloat16, torch.float16, torch.bool])),
        lambda: (tensor / 255).to(torch.float8_e5m2), lambda: tensor[None], lambda: tensor.permute(1, 2, 0),
        lambda: Image.fromarray(good),
        lambda: Image.fromarray(good).convert(random.choice(["L", "1", "P", "CMYK", "LAB", "HSV", "I", "F", "RGBA"])),
        lambda: mask(random), lambda: scalar(random), lambda: random.choice(PATHS),
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        return random.choice(forms)() if random.random() < 0.4 else good


RLES: list[Any] = [
    {"size": [24, 32], "counts": [768]}, {"size": [24, 32], "counts": [0, 768]}, {"size": [24, 32], "counts": [1]},
    {"size": [24, 32], "counts": [2**63 - 1, 2**63 - 1, 2 + 768]}, {"size": [2**40, 2**40], "counts": [2**62, 2**62]},
    {"size": [10**9, 10**9], "counts": [10**18]}, {"size": [0, 0], "counts": []}, {"size": [24], "counts": [768]},
    {"size": [24, 32], "counts": [float("nan")]}, {"size": [24, 32], "counts": np.full(3, np.nan)},
    {"size": [24, 32], "counts": "\ud800"}, {"size": [24, 32], "counts": "~~~~"}, {"size": "24", "counts": "1"},
    {"size": [24, 32], "counts": "o" * 5000 + "0"}, {"size": [24, 32], "counts": [768.5]},
    {"size": [HUGE, 1], "counts": [HUGE]}, {"size": [1.5, float("nan")], "counts": [1]},
    {"size": [24, 32], "counts": Touchy()}, {"size": Touchy(), "counts": [1]}, {"size": [24, 32], "counts": [-1, 769]},
]  # fmt: skip


def endless() -> Iterator[tuple[int, int]]:
    """Points without end."""
    return itertools.repeat((3, 4))
