"""Which weights of a network training moves: the stem's new kernels, the decoder too, low-rank deltas, or all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from torch import nn

from interactify.errors import OptionError
from interactify.learning.low_rank import is_delta

Part = Literal["stem", "stem+decoder", "all", "low-rank"]
PARTS: tuple[Part, ...] = ("stem", "stem+decoder", "all", "low-rank")

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Group:
    """Weights that are trained alike.

    Attributes:
        names: of parameters, as `named_parameters` gives them.
        rate: their learning rate, relative to the recipe's.
    """

    names: tuple[str, ...]
    rate: float = 1.0


def new_kernels(network: nn.Module) -> list[str]:
    """The kernels that `reconfigure_stem` added."""
    return [name for name, _ in network.named_parameters() if name.split(".")[0] == "kernels"]


def encoder_names(network: nn.Module) -> list[str]:
    """The parameters of the encoder (backbone): what training on few photos changes least.

    Raises:
        OptionError: no module of the network is called encoder, backbone or features.
    """
    heads = ("encoder", "backbone", "features", "body")
    found = [
        name
        for name, _ in network.named_parameters()
        if any(part in heads for part in name.removeprefix("model.").split(".")[:2])
    ]
    if not found:
        raise OptionError(
            f"Expected a network with a module called {', '.join(heads[:-1])} or {heads[-1]}, so that its decoder is "
            f"known, got {type(network).__name__}. Try parts='stem' or 'all'."
        )
    return found


def groups_of(network: nn.Module, part: Part, encoder_rate: float = 0.15) -> tuple[Group, ...]:
    """The groups of weights that a part names.

    Args:
        network: the network, reconfigured or not.
        part: "stem" (the new kernels alone: the image path stays exact), "stem+decoder" (all but the encoder), "all",
            or "low-rank" (the new kernels, and the deltas that `low_rank_deltas` has added).
        encoder_rate: the learning rate of a pretrained encoder, relative to that of the rest.

    Raises:
        OptionError: another part, or one that this network does not have.

    >>> network = nn.Sequential(); network.encoder, network.decoder = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1)
    >>> [group.names for group in groups_of(network, "stem+decoder")]
    [('decoder.weight', 'decoder.bias')]
    """
    if part not in PARTS:
        raise OptionError(f"Expected parts to be one of {', '.join(PARTS)}, got {part!r}.")
    new = new_kernels(network)
    everything = [name for name, _ in network.named_parameters()]
    if part == "low-rank":
        deltas = tuple(name for name in everything if is_delta(name))
        if not deltas:
            raise OptionError("Expected a network inside low_rank_deltas(…), got one without deltas.")
        return (Group((*new, *deltas)),)
    if part == "stem":
        if not new:
            raise OptionError(
                "Expected a network with new kernels for interaction maps, got one without. Try "
                'interactify.reconfigure_stem(model, maps=2, kernels="zero"), or another part.'
            )
        return (Group(tuple(new)),)
    try:
        encoder = set(encoder_names(network))
    except OptionError:
        if part == "stem+decoder":
            raise
        return (Group(tuple(everything)),)
    rest = tuple(name for name in everything if name not in encoder)
    if part == "stem+decoder":
        return (Group(rest),)
    return Group(rest), Group(tuple(name for name in everything if name in encoder), encoder_rate)


def optimiser_groups(
    network: nn.Module, groups: Sequence[Group], learning_rate: float, weight_decay: float
) -> list[dict[str, object]]:
    """Parameter groups for an optimiser of torch: biases, and the scales of norms, do not decay.

    Each has its own full rate under "full_lr", which a schedule scales.
    """
    parameters = dict(network.named_parameters())
    plain = {
        f"{name}.{own}" if name else own
        for name, module in network.named_modules()
        if isinstance(module, _NORMS)
        for own, _ in module.named_parameters(recurse=False)
    }
    made = []
    for group in groups:
        for decays in (True, False):
            members = [
                parameters[name] for name in group.names if (parameters[name].ndim > 1 and name not in plain) == decays
            ]
            if members:
                rate = learning_rate * group.rate
                decay = weight_decay if decays else 0.0
                made.append({"params": members, "lr": rate, "full_lr": rate, "weight_decay": decay})
    return made


@contextmanager
def only_trained(network: nn.Module, groups: Iterable[Group]) -> Iterator[None]:
    """Let gradients reach the groups' weights only, and restore every `requires_grad` afterwards."""
    wanted = {name for group in groups for name in group.names}
    before = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    try:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in wanted)
        yield
    finally:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(before.get(name, True))


def in_training_mode(network: nn.Module, groups: Iterable[Group]) -> None:
    """Training mode, but for the batch norms whose own weights are not trained: their statistics stay."""
    wanted = {name for group in groups for name in group.names}
    network.train()
    for name, module in network.named_modules():
        if isinstance(module, _NORMS[0]) and not any(
            f"{name}.{own}" in wanted for own, _ in module.named_parameters(recurse=False)
        ):
            module.eval()
