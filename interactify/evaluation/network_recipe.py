"""How a network is built: what is sent to other processes and machines in the place of the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from interactify.errors import OptionError
from interactify.interactive import Interactive, wrap
from interactify.models.build import build_model


@dataclass(frozen=True)
class NetworkRecipe:
    """A network as the command line describes it.

    Attributes:
        model: as for `--model`.
        options: arguments of `interactify.wrap`.
        device: "cpu", or "cuda": then the GPUs of a machine are shared among its workers.
    """

    model: str = "zoo"
    options: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def network(self, worker: int = 0) -> Interactive:
        """Build and wrap the network; `worker` chooses among several GPUs. Raises OptionError for a missing device."""
        device = self.device
        if device == "cuda" and torch.cuda.device_count() > 1:
            device = f"cuda:{worker % torch.cuda.device_count()}"
        try:
            model = build_model(self.model).to(device)
        except (RuntimeError, AssertionError) as cause:  # torch without CUDA, or an unknown device
            raise OptionError(
                f"Expected a device that the network can be moved to, got {self.device!r}: {cause}. Try cpu."
            ) from cause
        return wrap(model, **self.options)
