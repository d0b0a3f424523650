"""Masks that outlines and run lengths go wrong on: random ones, and those that every test should see."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray


def drawn(*rows: str) -> NDArray[np.bool_]:
    """A mask as it is typed: # is inside."""
    return np.array([[character == "#" for character in row] for row in rows])


AWKWARD = {
    "empty": np.zeros((5, 4), bool),
    "full": np.ones((5, 4), bool),
    "one pixel": np.ones((1, 1), bool),
    "one pixel, empty": np.zeros((1, 1), bool),
    "one pixel in a corner": np.pad(np.ones((1, 1), bool), ((3, 0), (0, 4))),
    "a row": drawn("##.#.###"),
    "a column": drawn("##.#.###").T,
    "two that touch by a corner": drawn("#.", ".#"),
    "two that touch by a corner, mirrored": drawn(".#", "#."),
    "a hole": drawn("####", "#..#", "####"),
    "a hole open at a corner only": drawn("###.", "#.#.", "##.#", "...."),
    "a ring closed by a corner only": drawn(".###", "#..#", "#..#", "####"),
    "two holes that touch": drawn("####", "#.##", "##.#", "####"),
    "three holes in a chain": drawn("#####", "#.###", "##.##", "###.#", "#####"),
    "an island in a hole": drawn("#####", "#...#", "#.#.#", "#...#", "#####"),
    "an island that touches its shore by a corner": drawn("#####", "#...#", "#...#", "#..#.", "##..#", "#####"),
    "a chessboard": np.indices((6, 7)).sum(axis=0) % 2 == 0,
    "a grid of holes": np.pad(np.indices((5, 7)).min(axis=0) % 2 == 0, 1, constant_values=True),
}


@st.composite
def masks(draw: st.DrawFn, most: int = 24) -> NDArray[np.bool_]:
    """Masks of every density, coarse and fine, up to `most` pixels wide and high."""
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    density = draw(st.sampled_from([0.03, 0.2, 0.5, 0.6, 0.8, 0.97]))
    grain = draw(st.sampled_from([1, 1, 2, 3, 5]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    coarse = rng.random((-(-height // grain), -(-width // grain))) < density
    return np.ascontiguousarray(coarse.repeat(grain, axis=0).repeat(grain, axis=1)[:height, :width])
