"""What a refinement should leave as it is: a map of probabilities, and how much each of its pixels counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from interactify.errors import OptionError


@dataclass(frozen=True, eq=False)
class Held:
    """E_H = Σ weights · (σ(z) − probability)², over the pixels of the logits z of the first map.

    Clicks alone leave a network free to give up the rest of the object, or to flood the background, on the way to
    their labels. In probabilities, where the network is sure it is held, and where it is not it may move.

    Where a refinement has satisfied its clicks and E_H has risen by more than `tolerance`, shorter ways from the start
    are tried, and the one with the lowest energy is taken among those on which all clicks keep their labels.

    Attributes:
        probability: (h, w) in [0, 1], of the object as it was before; of a volume (d, h, w).
        weights: of the same shape, 0 or more; 0 where anything may change.
        tolerance: 0 or more.

    Raises:
        OptionError: tensors of other shapes, a tolerance below 0.

    >>> held = Held(torch.tensor([[0.5, 1.0]]), torch.tensor([[2.0, 0.0]]))
    >>> held.energy(torch.tensor([[[100.0, -100.0]]]))
    tensor(0.5000)
    """

    probability: Tensor
    weights: Tensor
    tolerance: float = math.inf

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise OptionError(f"Expected a tolerance of 0 or more, got {self.tolerance!r}. Try math.inf for none.")
        if self.probability.ndim not in (2, 3) or self.probability.shape != self.weights.shape:
            raise OptionError(
                f"Expected a probability (h, w) to hold, and weights of the same shape, got "
                f"{tuple(self.probability.shape)} and {tuple(self.weights.shape)}. Try weights of one number a pixel."
            )

    def on(self, device: torch.device) -> Held:
        """A copy on a device: tensors of inference mode can't be saved for a backward pass."""
        maps = [each.detach().to(device, torch.float32).clone() for each in (self.probability, self.weights)]
        return Held(maps[0], maps[1], self.tolerance)

    def energy(self, logits: Tensor) -> Tensor:
        """E_H, 0-d, differentiable in the logits (T, h, w), or (T, d, h, w)."""
        precise = torch.promote_types(logits.dtype, torch.float32)
        moved = torch.sigmoid(logits[0].to(precise)) - self.probability.to(logits.device, precise)
        return (self.weights.to(logits.device, precise) * moved.square()).sum()
