"""Low-rank deltas on convolutions: few numbers are trained, and merged into the weights afterwards.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, section 4.1, for kernels of convolutions:
W + B A, where A (rank, in · kh · kw) begins at random and B (out, rank) at zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from interactify.errors import OptionError


class LowRankDelta(nn.Module):
    """Adds a delta of a low rank to a kernel; at the start the delta is zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        out, inputs = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(weight.new_empty(rank, inputs))
        self.up = nn.Parameter(weight.new_zeros(out, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The kernel with its delta."""
        return weight + (self.up @ self.down).view_as(weight)


@contextmanager
def low_rank_deltas(network: nn.Module, rank: int = 4, seed: int = 0) -> Iterator[int]:
    """Put deltas on all convolutions of a network that gain from it; at the end they are merged into the weights.

    Args:
        network: changed in place. Its outputs stay the same, to within rounding, until the deltas are trained
            (`groups_of(network, "low-rank")`).
        rank: of the deltas. Convolutions whose kernels hold fewer numbers than a delta would are left alone.
        seed: of the numbers that the deltas begin with.

    Yields:
        The number of convolutions with a delta.

    Raises:
        OptionError: the rank is no whole number above 0, or no convolution is large enough for it.

    >>> network = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 1, 1))
    >>> with low_rank_deltas(network, rank=2) as count:
    ...     count, sum(p.numel() for name, p in network.named_parameters() if is_delta(name))
    (1, 160)
    >>> sorted(name for name, _ in network.named_parameters())
    ['0.bias', '0.weight', '1.bias', '1.weight']
    """
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise OptionError(f"Expected a rank of 1 or more, got {rank!r}.")
    chosen = [module for module in network.modules() if isinstance(module, nn.Conv2d) and _gains(module.weight, rank)]
    if not chosen:
        raise OptionError(
            f"Expected a convolution with more numbers than a delta of rank {rank}, got none. Try rank=1."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in chosen:
            parametrize.register_parametrization(module, "weight", LowRankDelta(module.weight.detach(), rank))
    try:
        yield len(chosen)
    finally:
        for module in chosen:
            with torch.no_grad():
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def is_delta(name: str) -> bool:
    """Whether a parameter's name is that of a delta."""
    return ".parametrizations.weight." in name and name.rsplit(".", 1)[-1] in ("up", "down")


def _gains(weight: Tensor, rank: int) -> bool:
    return rank * (weight.shape[0] + weight[0].numel()) < weight.numel()
