"""Run an unknown network once, on a small image or volume, to learn what `ModelSpec` describes.

A network whose weights are 3-D convolutions' is run on a volume; one that also has 2-D ones, only where it runs on no
image.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from interactify.errors import ModelError, OptionError, reason_of
from interactify.inspection.activation import BeforeActivation, ancestors_of
from interactify.inspection.image_flow import StemSearch, followed, mark_input
from interactify.inspection.image_sizes import Size, first_sizes, more_sizes, multiple_of
from interactify.inspection.normalisation import normalisation_of
from interactify.inspection.outputs import OutputSpec, locate_output
from interactify.inspection.replica import replica_of
from interactify.inspection.spec import Knowledge, Layer, ModelSpec

_DIVISOR = 32
KNOWN = "known of its family"  # how the activation is known, where an adapter states it


def probe(
    model: nn.Module, known: Knowledge, given: Knowledge | None = None, *, replica: nn.Module | None = None
) -> ModelSpec:
    """Run the network once and describe it.

    Args:
        model: the user's network. It is not run: its replica is (`replica`, or a new one).
        known: what its adapter knows of it. It takes precedence over what is found.
        given: what the user states; it takes precedence over everything else.
        replica: the one to run, already `ready`.

    Raises:
        ModelError: where the network can't be run on an image, returns no map, or has no module of a name given.
        OptionError: for an invalid resolution, divisor, mean, std or number of class names.
    """
    given = given or Knowledge()
    knowledge = known.updated(given)
    for name, value in (("resolution", given.resolution), ("divisor", given.divisor)):
        if value is not None:
            _check_positive(name, value)
    replica = ready(replica_of(model), knowledge) if replica is None else replica
    for name in knowledge.points.values():
        submodule(replica, name)
    tensors = (*replica.parameters(), *replica.buffers(), torch.empty(0, dtype=torch.float32, device="cpu"))
    like = next(tensor for tensor in tensors if tensor.is_floating_point())
    hook = mark_stem(replica, knowledge.stem) if knowledge.stem is not None else None
    before = torch.get_rng_state()
    try:
        with torch.inference_mode(False), torch.random.fork_rng(_cuda(like)):
            run = _run(replica, like, knowledge, known.resolution)
            draws = not torch.equal(before, torch.get_rng_state())
            _check_convolutional(replica, run.search)
            image, size = run.image, tuple(run.image.shape[2:])
            rerun = partial(_more_outputs, replica, image.detach())
            found = locate_output(run.raw, size, knowledge.output, knowledge.activation, run.activations, rerun)
            tried = None if knowledge.divisor or len(size) == 2 else _least_divisor(replica, image.detach(), found)
            if given.activation is None and knowledge.activation is not None:
                found = replace(found, sure=KNOWN)
    finally:
        if hook is not None:
            hook.remove()
    search, channels = run.search, image.shape[1]
    normalisation = normalisation_of(channels, given, known, search, volumes=len(size) == 3)
    fixed = run.fixed if knowledge.fixed is None else knowledge.fixed
    exact = size if knowledge.exact is not None or (run.fixed and len(set(size)) > 1) else None
    resolution = max(size) if run.fixed or exact else knowledge.resolution
    if (run.fixed or exact) and given.resolution and multiple_of(given.resolution, knowledge.divisor) != resolution:
        raise OptionError(
            f"Expected images of {'×'.join(map(str, size))} only, which is all that {type(model).__name__} accepts, "
            f"got resolution={given.resolution}. Try without resolution=."
        )
    return ModelSpec(
        channels=channels,
        stem=tuple(search.stem),
        used_again=tuple(dict.fromkeys(search.other_readers)),
        output=found,
        layers=_reaching(run, found.pick(run.raw)[0]),
        mean=normalisation.mean,
        std=normalisation.std,
        normalisation=normalisation.source,
        resolution=resolution,
        divisor=knowledge.divisor or tried or _DIVISOR if not fixed else 1,
        dtype=like.dtype,
        device=like.device,
        probed=size,
        smallest=resolution if fixed and resolution else knowledge.smallest or 1,
        exact=exact,
        draws=draws,
        bgr=bool(knowledge.bgr),
        fit=knowledge.fit or "letterbox",
        divisor_assumed=knowledge.divisor is None and tried is None and not fixed,
        family=knowledge.family,
        class_names=_names_for(found.classes, given, known),
        points=knowledge.points,
        classes_seen=tuple(dict.fromkeys(type(m).__name__ for m in nn.Module.modules(replica))),
        click_maps=knowledge.click_maps,
        numbers=knowledge.numbers,
    )


def _reaching(run: _Run, output: Tensor) -> tuple[Layer, ...]:
    """The layers, and whether they reach the output; without an autograd graph all count as reaching it."""
    reached = ancestors_of(output)
    return tuple(
        replace(layer, reaches=any(node is None or node in reached for node in run.nodes[name]) or not reached)
        for name, layer in run.layers.items()
    )


def ready(replica: nn.Module, knowledge: Knowledge) -> nn.Module:
    """Let a replica run `knowledge.forward` instead of its own forward, where there is one.

    What that function calls, `model(image, …)` or `model.forward(image, …)`, is the network's own forward.
    """
    if knowledge.forward is None:
        return replica
    stated, own, running = knowledge.forward, replica.forward, threading.local()

    def forward(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if getattr(running, "inside", False):
            return own(*args, **kwargs)
        running.inside = True
        try:
            return stated(model, *args, **kwargs)
        finally:
            running.inside = False

    replica.forward = MethodType(forward, replica)
    return replica


def _sides_to_try(replica: nn.Module) -> tuple[int, ...]:
    """How many sides its inputs may have, the likelier first: 2 for images, 3 for volumes.

    A network of 3-D convolutions alone is never run on an image: some would accept it, and take channels for slices.
    """
    weights = {parameter.ndim for parameter in nn.Module.parameters(replica)}
    modules = {type(module) for module in nn.Module.modules(replica)}
    flat = any(issubclass(kind, (nn.Conv2d, nn.ConvTranspose2d)) for kind in modules)
    if not flat and not any(issubclass(kind, nn.Conv3d) for kind in modules):  # functions on weights of its own
        flat = 4 in weights
    return ((2, 3) if flat else (3,)) if 5 in weights else (2,)


def _least_divisor(replica: nn.Module, volume: Tensor, output: OutputSpec) -> int:
    """The least number that the sides of volumes have to be divisible by, tried; `_DIVISOR` where none below it does.

    It is tried for volumes alone: padding one to multiples of 32 may double its voxels, which a photo's never does.
    """
    for step in (1, 2, 4, 8, 16):
        size = tuple(side + step for side in volume.shape[2:])
        try:
            with torch.no_grad():
                found = output.pick(replica(volume.new_zeros(*volume.shape[:2], *size)))[0]
        except Exception:  # the user's own code, on a size it may not accept
            continue
        off = max(abs(own - output.scale * side) for own, side in zip(found.shape[2:], size, strict=True))
        if off < (1 if output.scale < 1 else 1e-6):
            return step
    return _DIVISOR


def _check_convolutional(replica: nn.Module, search: StemSearch) -> None:
    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in nn.Module.modules(replica))
    if not search.convolutions and not scripted:  # inside a script module no call can be observed
        raise ModelError(
            f"Expected a network with 2-D or 3-D convolutions, got {type(replica).__name__}, which ran without. Try "
            "the whole trained segmentation network; a head or a transform alone can't be refined."
        )


def _names_for(classes: int, given: Knowledge, known: Knowledge) -> tuple[str, ...]:
    if given.class_names and len(given.class_names) != classes:
        raise OptionError(f"Expected {classes} class names, one for each class; got {len(given.class_names)}.")
    if given.class_names:
        return tuple(given.class_names)
    return tuple(known.class_names) if len(known.class_names) == classes else ()


def _more_outputs(replica: nn.Module, image: Tensor) -> list[Any]:
    """What the network returns for three more images: black, of low contrast and of high contrast."""
    with torch.no_grad():
        return [replica(image * gain) for gain in (0.0, 0.1, 10.0)]


def submodule(model: nn.Module, name: str) -> nn.Module:
    """The module of that name.

    Raises:
        ModelError: where there is none; the error lists similar names.
    """
    names = dict(nn.Module.named_modules(model))
    if not isinstance(name, str) or name not in names:
        close = [known for known in names if isinstance(name, str) and known and (name in known or known in name)]
        top = [known for known in names if known and "." not in known]
        raise ModelError(
            f"Expected the name of a module of {type(model).__name__}, got {name!r}. Try one of: "
            f"{', '.join((close or top)[:8]) or '(none)'}."
        )
    return names[name]


def mark_stem(replica: nn.Module, name: str) -> RemovableHandle:
    """Let the input of the named module count as the image for every `ImageFlow`.

    Raises:
        ModelError: there is no module of that name, or it accepts no hook.
    """
    try:
        return submodule(replica, name).register_forward_pre_hook(mark_input)
    except RuntimeError as cause:
        raise ModelError(
            f"Expected a stem that accepts hooks, got {name!r}: {cause}. Try variables='input' for script modules."
        ) from cause


def _cuda(like: Tensor) -> list[int]:
    """The CUDA devices whose random state a pass may change."""
    return [like.device.index or 0] if like.device.type == "cuda" else []


@dataclass(frozen=True)
class _Run:
    image: Tensor
    raw: Any
    search: StemSearch
    activations: BeforeActivation
    layers: dict[str, Layer]
    nodes: dict[str, list[Any]]
    fixed: bool = False


def _run(replica: nn.Module, like: Tensor, knowledge: Knowledge, known: int | None) -> _Run:
    """Run the replica on the first kind of image it accepts; where it accepts none, raise the first failure."""
    failures: list[tuple[Size, Exception]] = []
    at: list[int] = []  # the channels of each failure
    for sides in _sides_to_try(replica):
        run = _first_run(replica, like, knowledge, known, sides, failures, at)
        if run is not None:
            return run
    # The first that is not about a wrong guess of the channels, if there is one.
    telling = next((k for k, (_, cause) in enumerate(failures) if "channels" not in str(cause)), 0)
    size, why = failures[telling]
    raise ModelError(_failed(replica, at[telling], size, why)) from why


def _first_run(
    replica: nn.Module,
    like: Tensor,
    knowledge: Knowledge,
    known: int | None,
    sides: int,
    failures: list[tuple[Size, Exception]],
    at: list[int],
) -> _Run | None:
    """The run on the first image, or volume, that is accepted; None where none is. What fails is added to the lists."""
    before = len(failures)
    first = first_sizes(knowledge, known, sides)
    maps = 0 if knowledge.click_maps is None else knowledge.click_maps.channels
    guesses = _channel_guesses(replica, maps, sides)
    # A wrong number of channels fails at every size, so unusual sizes come after all numbers of channels.
    for unusual in (False, True):
        for channels in guesses:
            own = [f for f, its in zip(failures[before:], at[before:], strict=True) if its == channels]
            if unusual and _is_about_arguments(own[-1][1]):
                continue
            more = [each for each in more_sizes(knowledge, replica, own, sides) if each not in first] if unusual else []
            for size in more if unusual else first:
                try:
                    run = _run_once(replica, like, channels, size, knowledge.stem is not None)
                except Exception as cause:  # the user's own code decides what it raises on an image it does not accept
                    failures.append((size, cause))
                    at.append(channels)
                    continue
                alone = knowledge.fixed is not False and (size not in first or len(set(size)) == 1)
                return replace(run, fixed=alone and not _takes_other_sizes(replica, run.image))
    return None


def _is_about_arguments(cause: Exception) -> bool:
    return isinstance(cause, TypeError) and "argument" in str(cause)


def _failed(replica: nn.Module, channels: int, size: Size, cause: Exception) -> str:
    """The text of the error for a network that runs on no image: what failed first, and what to try for that."""
    text = str(cause)
    if _is_about_arguments(cause):
        advice = "Try a module that takes one image tensor (N, C, H, W), and fills in the other arguments itself."
    elif isinstance(cause, (AssertionError, ValueError)) or re.search(r"[Ss]ize|shape|dimension|channels|match", text):
        advice = (
            "It may accept one size or one number of channels only: the usual ones were tried. Try resolution=…, the "
            "side of the squares it was trained on, or divisor=…, what both sides have to be divisible by."
        )
    else:
        advice = "The cause lies in the network's own code. Try running it on such an image alone."
    return (
        f"Expected {type(replica).__name__} to run on {'an image' if len(size) == 2 else 'a volume'} "
        f"(1, {channels}, {', '.join(map(str, size))}), got "
        f"{reason_of(cause)}. {advice}"
    )


def noise_image(channels: int, size: Size, like: Tensor) -> Tensor:
    """An image (1, channels, H, W) of noise, or a volume, the same each time, of the device and dtype of `like`.

    Not a constant one: networks that divide an image by its own deviation give NaN for that.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    noise = torch.randn(1, channels, *size, generator=generator, dtype=torch.float32, device="cpu")
    return noise.to(like.device, like.dtype)


def _run_once(replica: nn.Module, like: Tensor, channels: int, size: Size, named: bool) -> _Run:
    with torch.enable_grad():
        # Not a leaf: some networks write over their input.
        image = noise_image(channels, size, like).requires_grad_(True).clone()
        search, activations, layers = StemSearch(image, named=named), BeforeActivation(), dict[str, Layer]()
        nodes: dict[str, list[Any]] = {}
        with _layers_recorded(replica, search, layers, nodes), followed(search), activations:
            raw = replica(image)
    return _Run(image, raw, search, activations, layers, nodes)


def _takes_other_sizes(replica: nn.Module, image: Tensor) -> bool:
    """Whether a network that refused the first sizes accepts others than the one it ran on."""
    *depth, height, width = image.shape[2:]
    for size in ((*depth, height + 64, width + 96), (*(2 * side for side in depth), 2 * height, 2 * width)):
        try:
            with torch.no_grad():
                replica(image.new_zeros(1, image.shape[1], *size))
        except Exception:  # the user's own code, on a size it may not accept
            continue
        return True
    return False


def _channel_guesses(replica: nn.Module, maps: int, sides: int) -> list[int]:
    """Numbers of image channels to try: those that the first weights read, then the usual ones.

    The first weights of a click network may read its `maps` too.
    """
    kind = nn.Conv2d if sides == 2 else nn.Conv3d
    convolutions = [m.in_channels for m in nn.Module.modules(replica) if isinstance(m, kind)]
    weights = [p.shape[1] for p in replica.parameters() if p.ndim == sides + 2]
    first = [*convolutions[:1], *weights[:1]]
    without_maps = [channels - maps for channels in first if channels > maps] if maps else []
    return list(dict.fromkeys([*first, *without_maps, *((3, 1, 4) if sides == 2 else (1, 2, 4, 3))]))


@contextmanager
def _layers_recorded(
    replica: nn.Module, search: StemSearch, layers: dict[str, Layer], nodes: dict[str, list[Any]]
) -> Iterator[None]:
    """Note each module's map and its node in the autograd graph; tell `search` which module is running."""
    inside: list[str] = []

    def enter(name: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            inside.append(name)
            search.module = name

        return hook

    def leave(name: str) -> Any:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            if inside:
                inside.pop()
            search.module = inside[-1] if inside else ""
            layer = last_map(out, search.dimensions)
            if layer is not None:
                channels, *sides = layer.shape[1:]
                earlier = layers.pop(name, None)  # of a module that runs several times, the last run counts
                varies = earlier is not None and (earlier.varies or earlier.shape[0] != channels)
                layers[name] = Layer(name, type(module).__name__, (channels, *sides), varies)
                nodes.setdefault(name, []).append(layer.grad_fn)

        return hook

    handles = []
    for name, module in nn.Module.named_modules(replica):
        if isinstance(module, torch.jit.ScriptModule):
            continue  # script modules take no Python hooks below the top
        handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave(name))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def last_map(out: Any, dimensions: int) -> Tensor | None:
    """The map a layer's variables act on: its output, or the last map of a list (an encoder's deepest).

    `dimensions` is 4 for networks of images, 5 for those of volumes.
    """
    leaves = (leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
    maps = [leaf for leaf in leaves if leaf.ndim == dimensions and leaf.shape[1] > 0]
    return maps[-1] if maps else None


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"Expected {name} to be a whole number of pixels above 0, got {value!r}.")
