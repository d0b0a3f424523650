"""The invariants of every wrapped network, checked on one network with random weights, in about a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import interactify
from interactify import brs
from interactify.adapters import knowledge_of
from interactify.errors import InteractifyError, NonFiniteError, OptionError
from interactify.inspection.outputs import resized, to_logits
from interactify.interactive import Interactive
from interactify.network.feature_hooks import attach, changed_at
from interactify.network.targets import target_logit
from interactify.network.variables import Input, target_logits

SIZE = (45, 61)  # pixels: both odd, and no multiple of any stride
LARGER = (161, 213)
_BLOCK = 1 << 16
# Photo sizes and least variances: which of them revive a network with random weights is found by trying.
_REVIVALS = (*((SIZE, least) for least in (0.1, 0.5, 0.01, 0.2)), *((LARGER, least) for least in (0.1, 0.01)))


@dataclass
class Finding:
    """The result for one network; `reason` is empty if all invariants hold."""

    reason: str = ""
    parameters: int = 0
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)


class Unbuildable(Exception):
    """The network's own package can't build it."""


class QuickInitialisation(TorchFunctionMode):
    """Fill large tensors by repeating one random block: drawing all their weights takes longer than the check."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        tensor = args[0] if args else None
        quick = func in (Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.clamp_, Tensor.mul_, Tensor.add_)
        if not quick or not isinstance(tensor, Tensor) or any(isinstance(other, Tensor) for other in args[1:]):
            return func(*args, **(kwargs or {}))
        if tensor.numel() < 4 * _BLOCK or not tensor.is_contiguous() or tensor.device.type != "cpu":
            return func(*args, **(kwargs or {}))
        flat = tensor.detach().view(-1)
        func(flat[:_BLOCK], *args[1:], **(kwargs or {}))
        whole = flat.numel() // _BLOCK * _BLOCK
        flat[_BLOCK:whole].view(-1, _BLOCK).copy_(flat[:_BLOCK].expand(whole // _BLOCK - 1, _BLOCK))
        flat[whole:] = flat[: flat.numel() - whole]
        return tensor


def built(build: Callable[[], nn.Module]) -> nn.Module:
    """A network with random weights through which gradients flow: heads that start at zero get random weights too.

    Raises:
        Unbuildable: the network's package raised an error.
    """
    torch.manual_seed(0)
    try:
        with QuickInitialisation():
            model = build().eval()
    except Exception as cause:
        raise Unbuildable(f"can't be built: {type(cause).__name__}: {_short(cause)}") from cause
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1 and weight.numel() and bool((weight == weight.flatten()[0]).all()):
                weight.normal_(std=weight[0].numel() ** -0.5)
    return model


def checked(build: Callable[[], nn.Module], device: str = "cpu") -> Finding:
    """Build a network, wrap it on the device, and check every invariant."""
    started = time.perf_counter()
    finding = Finding()
    try:
        model = built(build).to(device)
        finding.parameters = sum(p.numel() for p in model.parameters())
        try:
            finding.reason = _violation(model, finding.found)
        except NonFiniteError as cause:
            finding.reason = _short(cause)
        for size, least in _REVIVALS:
            if finding.reason:
                _revive(model, least, size)
                finding.reason = _violation(model, finding.found, size)
                finding.found["revived"] = True
    except Unbuildable as cause:
        finding.reason = str(cause)
    except Exception as cause:  # the sweep continues, with this as the reason
        finding.reason = f"{type(cause).__name__}: {_short(cause)}"
    finding.seconds = round(time.perf_counter() - started, 2)
    return finding


def _revive(model: nn.Module, least: float, size: tuple[int, int]) -> None:
    """Give batch norms the statistics of the photo itself; where there are none, scale each layer's output to 1.

    With random weights, a deep network's signal can fade or explode, which a trained network's doesn't: then the
    weights fail, and not the library. Variances are at least `least`: divisions by tiny values, layer after layer,
    would amplify noise.
    """
    norms = [module for module in nn.Module.modules(model) if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [module for module in norms if module.track_running_stats]
    net = _wrapped(model, size)
    image = net.network.image(_photo(net.spec.channels, size), net.network.view(size))

    def take(norm: nn.Module, args: tuple[Any, ...]) -> None:
        values = args[0].transpose(0, 1).flatten(1)
        norm.running_mean.copy_(values.mean(1))  # type: ignore[operator]
        norm.running_var.copy_(values.var(1, correction=0).clamp_min(least))  # type: ignore[operator]

    def scale(layer: nn.Module, args: Any, out: Tensor) -> Tensor:
        deviation = out.std().clamp_min(1e-6)
        for parameter in layer.parameters():
            parameter.div_(deviation)
        return out / deviation

    handles = [norm.register_forward_pre_hook(take) for norm in norms]
    if not norms:
        layers = [layer for layer in nn.Module.modules(model) if type(layer) in (nn.Conv2d, nn.Linear)]
        handles = [layer.register_forward_hook(scale) for layer in layers]
    with torch.no_grad():
        _run(model, image)
    for handle in handles:
        handle.remove()


def _photo(channels: int, size: tuple[int, int]) -> Tensor:
    """Smooth noise (C, H, W) in [0, 1], the same each time."""
    generator = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.rand(1, channels, 6, 8, generator=generator), size=size, mode="bilinear")[0]
    return (0.8 * coarse + 0.2 * torch.rand(channels, *size, generator=generator)).clamp(0, 1)


def _violation(model: nn.Module, found: dict[str, Any], photo_size: tuple[int, int] = SIZE) -> str:
    before = _state(model)
    net = _wrapped(model, photo_size)
    classes = net.spec.output.classes
    target = min(1, classes - 1)
    session = net.session(_photo(net.spec.channels, photo_size), target=target)
    if session.result.mask.shape != photo_size:
        return f"a mask of {session.result.mask.shape}"
    image, mine = session.initial_step.crop.image, session.result.logits
    size = (image.shape[-2], image.shape[-1])
    found.update(
        stem=[call.module for call in net.spec.stem],
        classes=classes,
        activation=net.spec.output.activation,
        size=list(size),
        points={letter: layer.name for letter, layer in net.spec.insertion_points().items()},
        adapter=net.spec.family,
    )
    if _state(model) != before:
        return "the model is not as it was after wrapping"
    own = target_logit(to_logits(net.spec.output, _run(model, image)), target, net.spec.output.activation)
    own = resized(own, size)
    before = _state(model)  # some models register hooks on themselves when they run
    scale = float(own.abs().max())
    # To the last bit, except where probabilities are turned into logits. On a GPU the unwrapped network may get other
    # kernels than the recorded one, with another order of additions.
    exact = net.spec.output.activation == "none" and mine.device.type == "cpu"
    if not torch.allclose(mine, own, rtol=0, atol=0 if exact else 1e-4 * scale):
        return f"before a click: differs by {float((mine - own).abs().max()):.3g} of {scale:.3g}"
    points = torch.tensor([[5.0, 4.0], [size[1] * 0.55, size[0] * 0.6]], device=mine.device).floor()
    columns, rows = points.long().unbind(1)
    labels = mine[0, 0, rows, columns] < 0  # each click gives the pixel the other label
    if reason := _gradient_error(net, image, target, rows, columns):
        return reason
    if reason := _refinement_error(net, image, target, points, labels, mine[0, 0, rows, columns]):
        return reason
    if net.unwrap() is not model or _state(model) != before:
        return "the model is not as it was"
    return ""


def _wrapped(model: nn.Module, size: tuple[int, int]) -> Interactive:
    """Wrapped at the photo's own size; networks that require another size use theirs."""
    try:
        return interactify.wrap(model, resolution=max(size), max_evaluations=1, zoom=False)
    except OptionError:
        return interactify.wrap(model, max_evaluations=1, zoom=False)


def _run(model: nn.Module, image: Tensor) -> Any:
    """Run the unwrapped network, or its adapter's own forward pass (a classifier's dense form)."""
    forward = knowledge_of(model).forward
    with torch.no_grad():
        return model(image.clone()) if forward is None else forward(model, image.clone())


def _gradient_error(net: Interactive, image: Tensor, target: int, rows: Tensor, columns: Tensor) -> str:
    """One pass for all variables: the input, and an addition at each default insertion point."""
    network = net.network
    delta = torch.zeros_like(image, requires_grad=True)
    additions: dict[str, Tensor] = {}

    def at(layer: str) -> Callable[[Tensor], Tensor]:
        def change(x: Tensor) -> Tensor:
            additions[layer] = x.new_zeros(1, x.shape[1], 1, 1, requires_grad=True)
            return x + additions[layer]

        return change

    layers = {layer.name for layer in net.spec.insertion_points().values()}
    for layer in layers:
        attach(network.replica, layer)
    with torch.enable_grad(), ExitStack() as inside:
        for layer in layers:
            inside.enter_context(changed_at(network.replica, layer, at(layer)))
        logits = target_logits(network, Input(), image, delta, [], target)
        clicked = logits[0, 0, rows, columns].double()
        variables = {"input": delta, **additions}
        weights = torch.tensor([1.0, -0.7], device=clicked.device)
        gradients = torch.autograd.grad((clicked * weights).sum(), list(variables.values()), allow_unused=True)
    for name, gradient in zip(variables, gradients, strict=True):
        if gradient is None or not bool(torch.isfinite(gradient).all()) or not bool(gradient.any()):
            return f"gradient at {name}: {'none' if gradient is None else 'zero or not finite'}"
    return ""


def _refinement_error(
    net: Interactive, image: Tensor, target: int, points: Tensor, labels: Tensor, start: Tensor
) -> str:
    """Two clicks together lower the energy, and a second refinement gives the same values; on a GPU nearly."""

    def forward(values: Tensor) -> Tensor:
        return target_logits(net.network, net.variables, image, values, [], target)

    identity = net.variables.start(net.network, image)
    energy_before = float(net.energy.corrective(start[:, None].to(identity.dtype), labels))
    ends = [
        brs.refine(
            forward, identity, points, labels, energy=net.energy, inertia=net.variables.inertia, max_evaluations=4
        )
        for _ in range(2)
    ]
    if not ends[0].energy < energy_before:
        return f"energy {energy_before:.4g} before, {ends[0].energy:.4g} after a refinement"
    first, second = (end.values for end in ends)
    # Backward passes on a GPU add in an order that changes from run to run.
    least = 0.0 if first.device.type == "cpu" else 1e-2 * float(first.abs().max())
    if not float((first - second).abs().max()) <= least:  # nor if it is NaN
        return "two refinements differ"
    return ""


def _state(model: nn.Module) -> list[tuple[Any, ...]]:
    """What must not change in a model; a tensor that was written to has another version."""
    tensors = [(t._version, t.requires_grad, t.data_ptr()) for t in (*model.parameters(), *model.buffers())]
    modules = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m))
        for m in nn.Module.modules(model)
    ]
    return [*tensors, *modules]


def _short(cause: Exception) -> str:
    text = " ".join(str(cause).split())
    if isinstance(cause, InteractifyError) and len(text) > 400:
        return text[:400]
    return text[:240]
