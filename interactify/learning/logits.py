"""Log-odds of a network's object while it is trained: whatever it returns becomes one map, with a gradient."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from interactify.errors import OptionError
from interactify.inspection.activation import BeforeActivation
from interactify.inspection.outputs import resized, to_logits
from interactify.inspection.spec import ModelSpec
from interactify.network.targets import target_logit


@dataclass(frozen=True)
class LogOdds:
    """Runs a pass and reads the log-odds of one class from what it returns.

    Attributes:
        spec: what was found of the network (`probe`).
        target: the class; of one class or two it is known.
    """

    spec: ModelSpec
    target: int

    @classmethod
    def of(cls, spec: ModelSpec, target: int | None = None) -> LogOdds:
        """Raises OptionError where the class of an object is not known, or is none of the network's."""
        classes = spec.output.classes
        if target is None and classes > 2:
            raise OptionError(
                f"Expected target=… for a network of {classes} classes: the class whose map is trained. Try the index "
                "of one, or a network of one class."
            )
        target = classes - 1 if target is None else target
        if not 0 <= target < classes:
            raise OptionError(f"Expected target to be a class from 0 to {classes - 1}, got {target!r}.")
        return cls(spec, target)

    def __call__(self, one_pass: Callable[[Tensor], Any], x: Tensor) -> Tensor:
        """Log-odds (N, 1, H, W) for a batch (N, C, H, W), differentiable in the network's weights."""
        output = self.spec.output
        with BeforeActivation() if output.bypassed else nullcontext() as activations:
            raw = one_pass(x)
        logits = to_logits(output, raw, activations)
        return resized(target_logit(logits, self.target, output.activation), (x.shape[-2], x.shape[-1]))
