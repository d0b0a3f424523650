"""Label Studio's run lengths of brush masks, written and read.

The format is that of the npm package rle-pack (K. Schmidt, thi.ng/umbrella), over the flattened red, green, blue and
alpha of the mask's picture: a stream of bits, each number's highest bit first. The header has the number of values (32
bits), the bits of a value minus one (5), and four widths of counts minus one (4 bits each). Each packet has one bit, 1
for a run and 0 for single values, two bits that select the width of its count, the count minus one, and the value or
values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.errors import InteractionError, text_of

CHANNELS: Final = 4
SIZES: Final = (3, 4, 8, 16)  # bits of a run's count: the same as Label Studio's own front end writes
VALUE: Final = 8  # bits of a value


def encoded(mask: NDArray[np.bool_]) -> list[int]:
    """A mask (H, W) as Label Studio's run lengths: bytes as a list of whole numbers.

    >>> mask = np.zeros((2, 3), bool)
    >>> mask[0, 1] = True
    >>> encoded(mask)[:7], bool((decoded(encoded(mask), (2, 3)) == mask).all())
    ([0, 0, 0, 24, 57, 27, 252], True)
    """
    flat = np.ascontiguousarray(mask, bool).ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    values = flat[ends - 1].astype(np.uint64) * 255
    counts = np.diff(ends, prepend=0).astype(np.uint64) * CHANNELS
    most = 1 << SIZES[-1]
    packets = (counts - 1) // most + 1  # of each run: one that is longer than a count can be takes several
    last = np.cumsum(packets) - 1
    count = np.full(int(packets.sum()), most, np.uint64)
    count[last] = counts - (packets - 1) * most
    value = np.repeat(values, packets.astype(np.intp))
    kind = np.searchsorted(np.array([1 << size for size in SIZES], np.uint64), count).astype(np.uint64)
    size = np.array(SIZES, np.uint64)[kind.astype(np.intp)]
    word = (((4 + kind) << size) + (count - 1) << np.uint64(VALUE)) + value  # 4: the bit that says "run"
    bits = np.concatenate([_header(CHANNELS * flat.size), _bits(word, size + 3 + VALUE)])
    return np.packbits(bits).tolist()


def decoded(rle: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) in run lengths written by Label Studio's front end, its exports or `encoded`.

    A pixel is in it where alpha is at least half.

    Raises:
        InteractionError: no list of bytes, one for another size, or one that ends too early.
    """
    data = _bytes(rle)
    at = 0

    def read(count: int) -> int:
        nonlocal at
        first, last = at // 8, (at + count + 7) // 8
        if last > len(data):
            raise InteractionError("Expected complete run lengths of a brush, got some that end too early.")
        at += count
        return (int.from_bytes(data[first:last], "big") >> (8 * last - at)) & ((1 << count) - 1)

    total, value = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    height, width = size
    if total != CHANNELS * height * width:
        raise InteractionError(
            f"Expected run lengths of {CHANNELS} values for each of {width} x {height} pixels, got {total} values."
        )
    full = (1 << value) - 1
    flat = np.zeros(total, bool)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    done = 0
    while done < total:
        run = read(1)
        count = min(read(sizes[read(2)]) + 1, total - done)
        if run:
            flat[done : done + count] = 2 * read(value) > full
        else:
            single = bits[at : at + count * value]
            if len(single) < count * value:
                raise InteractionError("Expected complete run lengths of a brush, got some that end too early.")
            numbers = single.reshape(count, value).astype(np.int64) @ (
                1 << np.arange(value - 1, -1, -1, dtype=np.int64)
            )
            flat[done : done + count] = 2 * numbers > full
            at += count * value
        done += count
    return flat.reshape(height, width, CHANNELS)[..., CHANNELS - 1].copy()


def _header(total: int) -> NDArray[np.uint8]:
    numbers = np.array([total, VALUE - 1, *(size - 1 for size in SIZES)], np.uint64)
    return _bits(numbers, np.array([32, 5, 4, 4, 4, 4], np.uint64))


def _bits(numbers: NDArray[np.uint64], widths: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The last `widths` bits of each number, one after the other."""
    bits = np.unpackbits(numbers.astype(">u4").view(np.uint8).reshape(-1, 4), axis=1)
    return bits[np.arange(32, 0, -1, dtype=np.uint64) <= widths[:, None]]


def _bytes(rle: Any) -> bytes:
    try:
        return bytes(rle)
    except (TypeError, ValueError) as cause:
        raise InteractionError(f"Expected run lengths of a brush as a list of bytes, got {text_of(rle)}.") from cause
