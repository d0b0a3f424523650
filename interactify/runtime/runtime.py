"""What all sessions of one network share: what is known of its suffixes, and the executor of its tapes."""

from __future__ import annotations

from dataclasses import dataclass, field

from interactify.network.network import Network
from interactify.runtime.executor import Executor
from interactify.runtime.lowering import FrozenWeights
from interactify.runtime.recording import InPlaceWrites

Key = tuple[str, tuple[int, ...]]  # the variables' name and the image's shape


@dataclass
class Suffixes:
    """What earlier images have shown about a network's suffixes, by variables and shape.

    Attributes:
        writes: how the network writes in place.
        checked: keys whose tape passed the self-check against the whole network.
        whole: keys that run the whole network, and why.
        unlowered: by variables, why tapes run as recorded; "" where they are lowered.
        unreduced: by variables, why no tape in lower precision steers refinements; "" where one does.
        batched: keys whose rows give the same together as alone.
        alone: keys whose rows run one by one, and why.
        frozen: what was derived from the weights for inference.
    """

    writes: dict[Key, InPlaceWrites] = field(default_factory=dict)
    checked: set[Key] = field(default_factory=set)
    whole: dict[Key, str] = field(default_factory=dict)
    unlowered: dict[str, str] = field(default_factory=dict)
    unreduced: dict[str, str] = field(default_factory=dict)
    batched: set[Key] = field(default_factory=set)
    alone: dict[Key, str] = field(default_factory=dict)
    frozen: FrozenWeights = field(default_factory=FrozenWeights)


class Runtime:
    """A network and what is known about running its suffixes. Sessions share it; it holds no state of a session."""

    def __init__(self, network: Network, compiles: bool = False, cuda_graphs: bool = False) -> None:
        self.network = network
        self.suffixes = Suffixes()
        self.executor = Executor(compiles, network.autocast, self.pointers, cuda_graphs)

    def pointers(self) -> set[int]:
        """The memory addresses of the weights and of what was derived from them."""
        tensors = (*self.network.weights, *self.suffixes.frozen.tensors())
        return {tensor.untyped_storage().data_ptr() for tensor in tensors}
