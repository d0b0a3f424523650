"""Measuring: ratios within a repetition, spreads, and the memory of a call, by hand."""

from __future__ import annotations

import torch

from interactify.evaluation.timing import allocation, paired, spread


def test_ratios_are_paired() -> None:
    """A slow repetition slows both, and does not count: by hand, ratios 2, 3, 10 and quartiles halfway."""
    assert paired([2.0, 300.0, 10.0], [1.0, 100.0, 1.0]) == {"median": 3.0, "q1": 2.5, "q3": 6.5}
    assert spread([7.0]) == {"median": 7.0, "q1": 7.0, "q3": 7.0}
    assert spread([4.0, 1.0, 3.0, 2.0]) == {"median": 2.5, "q1": 1.75, "q3": 3.25}


def test_allocations_are_counted() -> None:
    def two_of_three() -> torch.Tensor:
        kept = torch.empty(1000, dtype=torch.float32)
        passing = torch.empty(3000, dtype=torch.float32)
        del passing
        return kept + 1  # a third, after the largest is gone

    peak, kept, result = allocation(two_of_three)
    assert (peak, kept, result.numel()) == (16000, 4000, 1000)
