"""Running an unknown network once, on a small image, to learn what a `ModelSpec` holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from interactify.errors import ModelError, OptionError
from interactify.following import Watching, following, mark_input
from interactify.outputs import Output, locate_output
from interactify.spec import Layer, ModelSpec
from interactify.twin import twin_of

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Not square, so that a map's sides can be told apart; the later ones for networks that insist on their own size.
_SIZES = ((128, 160), (128, 192), (256, 256), (224, 224), (512, 512))


def probe(
    model: nn.Module,
    *,
    stem: str | None = None,
    output: Output = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    resolution: int | None = None,
    divisor: int = 32,
    twin: nn.Module | None = None,
) -> ModelSpec:
    """Run the network once and describe it; keywords override what would be found.

    Args:
        model: the user's network. It is not run: its twin is (`twin`, or a new one).
        stem: name of the module that reads the image, where following the image does not find it.
        output: key, index, dotted path or callable that leads to the map.
        mean, std: normalisation of images in [0, 1], a number or one for each channel.
        resolution: longest side of a photo in network pixels.
        divisor: what height and width must be divisible by.

    Raises:
        ModelError: where the network can't be run on an image, returns no map, or has no module named `stem`.
        OptionError: for a resolution, divisor, mean or std that can't be.
    """
    if resolution is not None:
        _check_positive("resolution", resolution)
    _check_positive("divisor", divisor)
    twin = twin_of(model) if twin is None else twin
    like = next((t for t in (*twin.parameters(), *twin.buffers()) if t.is_floating_point()), torch.empty(0))
    hook = None
    if stem is not None:
        hook = mark_stem(twin, stem)
    before = torch.get_rng_state()
    try:
        with torch.inference_mode(False), torch.random.fork_rng(_cuda(like)):
            image, raw, watching, layers = _run(twin, like, named=stem is not None)
            draws = not torch.equal(before, torch.get_rng_state())
    finally:
        if hook is not None:
            hook.remove()
    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in nn.Module.modules(twin))
    if not watching.convolutions and not scripted:  # inside a script module nothing is seen
        raise ModelError(
            f"{type(model).__name__} ran without a single 2-D convolution. Wrap a convolutional segmentation network, "
            "trained and whole; a head or a transform alone has nothing for a click to move."
        )
    size = (image.shape[-2], image.shape[-1])
    found = locate_output(raw, size, output)
    channels = image.shape[1]
    mean_, std_, source, own_resolution = _preprocessing(model, channels, mean, std)
    return ModelSpec(
        channels=channels,
        stem=tuple(watching.found),
        used_again=tuple(dict.fromkeys(watching.others)),
        output=found,
        layers=tuple(layers.values()),
        mean=mean_,
        std=std_,
        normalisation=source,
        resolution=resolution or own_resolution,
        divisor=divisor,
        dtype=like.dtype,
        device=like.device,
        probed=size,
        draws=draws,
        classes_seen=tuple(dict.fromkeys(type(m).__name__ for m in nn.Module.modules(twin))),
    )


def submodule(model: nn.Module, name: str) -> nn.Module:
    """The module of that name.

    Raises:
        ModelError: where there is none; names what comes close.
    """
    names = dict(nn.Module.named_modules(model))
    if not isinstance(name, str) or name not in names:
        close = [known for known in names if isinstance(name, str) and known and (name in known or known in name)]
        top = [known for known in names if known and "." not in known]
        raise ModelError(
            f"{type(model).__name__} has no module named {name!r}. Try: {', '.join((close or top)[:8]) or '(none)'}."
        )
    return names[name]


def mark_stem(twin: nn.Module, name: str) -> RemovableHandle:
    """Make what the named module reads count as the image, wherever the image is followed.

    Raises:
        ModelError: no module of that name, or one that takes no hook.
    """
    try:
        return submodule(twin, name).register_forward_pre_hook(mark_input)
    except RuntimeError as cause:
        raise ModelError(
            f"Nothing can enter at {name!r}: {cause}. Script modules can only be refined at 'input'."
        ) from cause


def _cuda(like: Tensor) -> list[int]:
    """The CUDA devices whose random state a pass may move."""
    return [like.device.index or 0] if like.device.type == "cuda" else []


def _run(twin: nn.Module, like: Tensor, named: bool) -> tuple[Tensor, Any, Watching, dict[str, Layer]]:
    """Run the twin on the first kind of image it takes; the failure reported is the first, the likeliest one's."""
    first: Exception | None = None
    for channels in _channel_guesses(twin):
        for size in _SIZES:
            generator = torch.Generator().manual_seed(0)
            pixels = torch.randn(1, channels, *size, generator=generator).to(like.device, like.dtype)
            with torch.enable_grad():
                image = pixels.requires_grad_(True).clone()  # not a leaf: some networks write over their input
            watching, layers = Watching(image, named=named), dict[str, Layer]()
            try:
                with torch.enable_grad(), _recorded(twin, watching, layers), following(watching):
                    raw = twin(image)
            except Exception as cause:  # whatever the user's own code raises on an image it does not take
                first = first or cause
                continue
            return image, raw, watching, layers
    raise ModelError(
        f"{type(twin).__name__} could not be run on an image batch (1, {_channel_guesses(twin)[0]}, {_SIZES[0][0]}, "
        f"{_SIZES[0][1]}): {type(first).__name__}: {first}. Wrap a module that takes one image tensor (N, C, H, W)."
    ) from first


def _channel_guesses(twin: nn.Module) -> list[int]:
    """Numbers of image channels to try: those the earliest weights read, then the usual ones."""
    convolutions = [m.in_channels for m in nn.Module.modules(twin) if isinstance(m, nn.Conv2d)]
    weights = [p.shape[1] for p in twin.parameters() if p.ndim == 4]
    return list(dict.fromkeys([*convolutions[:1], *weights[:1], 3, 1, 4]))


@contextmanager
def _recorded(twin: nn.Module, watching: Watching, layers: dict[str, Layer]) -> Iterator[None]:
    """Note each module's map as it comes, and tell `watching` where the pass is."""
    inside: list[str] = []

    def enter(name: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            inside.append(name)
            watching.module = name

        return hook

    def leave(name: str) -> Any:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            if inside:
                inside.pop()
            watching.module = inside[-1] if inside else ""
            layer = last_map(out)
            if layer is not None:
                _, channels, h, w = layer.shape
                earlier = layers.pop(name, None)  # a module called again counts where it ran last
                varies = earlier is not None and (earlier.varies or earlier.shape[0] != channels)
                layers[name] = Layer(name, type(module).__name__, (channels, h, w), varies)

        return hook

    handles = []
    for name, module in nn.Module.named_modules(twin):
        if isinstance(module, torch.jit.ScriptModule):
            continue  # script modules take no Python hooks below the top
        handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave(name))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def last_map(out: Any) -> Tensor | None:
    """The map a layer's variables act on: its output, or the last map of a list (an encoder's deepest)."""
    maps = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and leaf.ndim == 4 and leaf.shape[1] > 0]
    return maps[-1] if maps else None


def _preprocessing(
    model: nn.Module, channels: int, mean: Sequence[float] | float | None, std: Sequence[float] | float | None
) -> tuple[tuple[float, ...], tuple[float, ...], str, int | None]:
    """Mean, std, where they come from, and the resolution the network says it was made for."""
    stored = getattr(model, "pretrained_cfg", None)
    own = {key: value for key, value in stored.items() if value} if isinstance(stored, dict) else {}
    resolution = max(own["input_size"][-2:]) if "input_size" in own else None
    base: tuple[tuple[float, ...], tuple[float, ...]]
    if channels == 3:
        base, source = IMAGENET, "ImageNet's, assumed: give mean=, std= if yours differ"
    else:
        base, source = ((0.0,) * channels, (1.0,) * channels), "images in [0, 1], assumed: give mean=, std= if not"
    if len(own.get("mean", ())) == channels and len(own.get("std", ())) == channels:
        base, source = (own["mean"], own["std"]), "the network's own pretrained_cfg"
    if mean is not None or std is not None:
        source = "given"
    mean_ = _per_channel("mean", base[0] if mean is None else mean, channels)
    std_ = _per_channel("std", base[1] if std is None else std, channels)
    if min(std_) <= 0:
        raise OptionError(f"Expected std above 0 for each channel, got {std_}.")
    return mean_, std_, source, resolution


def _per_channel(name: str, value: Sequence[float] | float, channels: int) -> tuple[float, ...]:
    try:
        values = (float(value),) * channels if isinstance(value, (int, float)) else tuple(float(v) for v in value)
    except (TypeError, ValueError):
        raise OptionError(f"Expected {name} to be a number or {channels} of them, got {value!r}.") from None
    if len(values) != channels or not all(abs(v) < float("inf") for v in values):
        raise OptionError(f"Expected {name} to have {channels} finite values, one a channel; got {value!r}.")
    return values


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"Expected {name} to be a whole number of pixels above 0, got {value!r}.")
