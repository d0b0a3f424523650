"""Passes in lower precision that steer a refinement, as a suffix that `pass_cache.py` runs like any other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interactify.brs import SteeringEnded
from interactify.errors import ran_out
from interactify.interactions.click import Click
from interactify.runtime.suffix import Suffix


class Steering:
    """A suffix in bfloat16, for one whose tape serves all clicks: nearly the same logits in a part of the time."""

    maps = None
    whole = None
    shared = True

    def __init__(self, suffix: Suffix) -> None:
        self.suffix, self.image, self.start = suffix, suffix.image, suffix.start

    @property
    def bytes_made(self) -> int:
        """Bytes of all tensors that a pass creates."""
        return self.suffix.bytes_made // 2

    def valid_for(self, clicks: Sequence[Click]) -> tuple[object, ...]:
        """What a pass depends on: the weights' version."""
        return self.suffix.valid_for(clicks)

    def __call__(self, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """Logits (1, K, h, w) in float32, differentiable in the values. Raises SteeringEnded where it can't go on."""
        tape = self.suffix.reduced_tape()
        if tape is None:  # this photo's pass can't be recorded, or has no equal in bfloat16
            raise SteeringEnded
        try:
            return tape(values.to(torch.bfloat16)).float()
        except Exception as cause:  # for example, a view at this size that needs the original memory layout
            if ran_out(cause):
                raise
            self.suffix.steer_no_more(f"it fails in bfloat16 ({type(cause).__name__}: {cause})")
            raise SteeringEnded from cause
