"""What runs one network's passes: what is known of its suffixes, and the executor of its tapes."""

from __future__ import annotations

from dataclasses import dataclass, field

from interactify.network.network import Network
from interactify.runtime.executor import Executor
from interactify.runtime.lowering import FrozenWeights
from interactify.runtime.recording import InPlaceWrites

Key = tuple[str, tuple[int, ...]]  # the variables' name and the image's shape


@dataclass
class Suffixes:
    """What is known of a network's suffixes from earlier images, by variables and shape.

    Attributes:
        learnt: how the network writes in place.
        checked: where a tape has been found to give what the whole network gives.
        whole: where the whole network is run, and why.
        unlowered: by variables, why tapes are run as they were recorded; "" where they are lowered.
        batched: where rows have been found to give together what they give alone.
        alone: where rows are run one by one, and why.
        frozen: what was made of the weights for inference.
    """

    learnt: dict[Key, InPlaceWrites] = field(default_factory=dict)
    checked: set[Key] = field(default_factory=set)
    whole: dict[Key, str] = field(default_factory=dict)
    unlowered: dict[str, str] = field(default_factory=dict)
    batched: set[Key] = field(default_factory=set)
    alone: dict[Key, str] = field(default_factory=dict)
    frozen: FrozenWeights = field(default_factory=FrozenWeights)


class Runtime:
    """A network with all that is known of running it in part. Its sessions share it; it holds nothing of theirs."""

    def __init__(self, network: Network, compiles: bool = False) -> None:
        self.network = network
        self.suffixes = Suffixes()
        self.executor = Executor(compiles, network.autocast, self.pointers)

    def pointers(self) -> set[int]:
        """Where in memory the weights are, and what was made of them."""
        tensors = (*self.network.weights, *self.suffixes.frozen.tensors())
        return {tensor.untyped_storage().data_ptr() for tensor in tensors}
