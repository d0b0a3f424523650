"""Compiled and replayed tapes: the same logits and gradients as step by step, also when others run in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify.runtime import executor as running
from interactify.runtime.compiled import Compiled, signature, uncompilable, waits_for_values
from interactify.runtime.cuda_graphs import CudaGraph
from interactify.runtime.suffix import Suffix
from interactify.runtime.tape import Mode, Tape
from tests.fixtures import networks
from tests.fixtures.emulated_graph import Graph, emulated
from tests.runtime.test_suffix import SOME, TWENTY, somewhere, suffix_of

__all__ = ["emulated"]


def opened(name: str, seed: int = 1, variables: str = "input", side: int = 64) -> Suffix:
    model = networks.seeded(TWENTY[name]).eval()
    return suffix_of(interactify.wrap(model, variables=variables, resolution=side), networks.random_photo(64, 64, seed))


def tape_of(suffix: Suffix) -> Tape:
    tape = suffix.lowered_tape or suffix.recorded_tape
    assert tape is not None
    return tape


def with_gradient(run: object, values: Tensor) -> tuple[Tensor, Tensor]:
    at = values.clone().requires_grad_(True)
    logits = run(at)  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(logits, at, networks.random_tensor(*logits.shape, seed=7))
    return logits.detach(), gradient


@pytest.mark.parametrize("name", [each for each in SOME if not str(each.values[0]).startswith("Unet++")])
def test_one_graph_of_a_tape_is_the_tape(name: str) -> None:
    suffix = opened(name)
    tape = tape_of(suffix)
    assert not uncompilable(tape)
    run = Compiled(tape, backend="eager")
    for found, expected in zip(
        with_gradient(lambda v: run(tape, v), somewhere(suffix)), with_gradient(tape, somewhere(suffix)), strict=True
    ):
        assert torch.equal(found, expected)


def test_another_photo_has_the_same_steps_and_another_size_has_not() -> None:
    net = interactify.wrap(networks.slim_saliency(), resolution=96, variables="scale_bias@B")
    first, second, larger = (
        tape_of(suffix_of(net, networks.random_photo(*size))) for size in ((64, 64, 1), (64, 64, 2), (64, 96, 3))
    )
    assert signature(first) == signature(second) != signature(larger)
    run = Compiled(first, backend="eager")
    values = somewhere(suffix_of(net, networks.random_photo(64, 64, 1)))
    assert torch.equal(run(second, values), second(values)) and not torch.equal(second(values), first(values))


def test_compiled_clicks_are_clicks() -> None:
    """With the real compiler."""
    model = networks.seeded(networks.Functional).eval()
    photo = networks.random_photo(64, 64)
    masks = []
    for compiled in (True, False):
        net = interactify.wrap(model, compile=compiled, max_evaluations=6)
        session = net.session(photo)
        session.click(x=20, y=30, positive=False)
        masks.append(session.click(x=50, y=10).probability)
        assert ("run         compiled" in net.describe()) == compiled
    assert np.abs(masks[0] - masks[1]).max() < 1e-3


def test_autocast_is_compiled_too() -> None:
    net = interactify.wrap(networks.slim_saliency(), resolution=64, precision="bfloat16")
    suffix = suffix_of(net, networks.random_photo(64, 64))
    tape = tape_of(suffix)
    assert tape.mode.autocast == torch.bfloat16 and not uncompilable(tape)
    found = Compiled(tape, backend="eager")(tape, somewhere(suffix))
    assert torch.equal(found, tape(somewhere(suffix)))


@pytest.mark.parametrize("value", ["no", 1, None])
@pytest.mark.parametrize("name", ["compile", "cuda_graphs"])
def test_switches_are_yes_or_no(name: str, value: object) -> None:
    with pytest.raises(interactify.OptionError, match=f"{name} to be True or False"):
        interactify.wrap(networks.slim_saliency(), **{name: value})  # type: ignore[arg-type]


def test_compiled_or_replayed_but_not_both() -> None:
    with pytest.raises(interactify.OptionError, match="compile=True or cuda_graphs=True, got both"):
        interactify.wrap(networks.slim_saliency(), compile=True, cuda_graphs=True)


def test_a_compiler_that_fails_is_reported_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_options: object) -> object:
        raise RuntimeError("no C++ compiler here\nand a long trace")

    monkeypatch.setattr(torch, "compile", broken)
    photo, model = networks.random_photo(64, 64), networks.slim_saliency()
    net = interactify.wrap(model, compile=True, resolution=64)
    mask = net.session(photo).click(x=20, y=30).mask
    assert np.array_equal(mask, interactify.wrap(model, resolution=64).session(photo).click(x=20, y=30).mask)
    assert "step by step, not by torch.compile: RuntimeError: no C++ compiler here\n" in net.describe()


def test_branches_that_depend_on_values_are_not_one_graph() -> None:
    tape = tape_of(opened("functional"))
    step = tape.steps[0]
    assert "depends on values" in uncompilable(replace(tape, steps=(replace(step, expected=(True,)), *tape.steps[1:])))
    at = next(i for i, step in enumerate(tape.steps) if step.function is torch.conv2d)
    other = replace(tape.steps[at], mode=Mode(gradients=True, autocast=torch.bfloat16))
    mixed = replace(tape, steps=(*tape.steps[:at], other, *tape.steps[at + 1 :]))
    assert "switches" in uncompilable(mixed) and not waits_for_values(mixed)


@pytest.mark.parametrize("variables", ["input", "scale_bias@A", "scale_bias@B"])
def test_replays_give_what_the_tape_gives(emulated: list[Graph], variables: str) -> None:
    net = interactify.wrap(networks.slim_saliency(), resolution=64, variables=variables)
    suffixes = [suffix_of(net, networks.random_photo(64, 64, seed)) for seed in (1, 2)]
    tapes = [tape_of(suffix) for suffix in suffixes]
    graph = CudaGraph(tapes[0], suffixes[0].start, net.runtime.pointers())
    for turn in (0, 1, 0):  # a second photo, and the first one again
        values = somewhere(suffixes[turn], seed=turn)
        found = with_gradient(lambda v, turn=turn: graph(tapes[turn], v), values)
        expected = with_gradient(tapes[turn], values)
        assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(found, expected, strict=True))
    assert [each.replays for each in emulated] == [3, 3]


def test_a_replay_in_between_does_no_harm(emulated: list[Graph]) -> None:
    """Logits keep their values, and the gradient is that of its own pass."""
    net = interactify.wrap(networks.slim_saliency(), resolution=64)
    one, other = (suffix_of(net, networks.random_photo(64, 64, seed)) for seed in (1, 2))
    graph = CudaGraph(tape_of(one), one.start, net.runtime.pointers())
    at = somewhere(one).requires_grad_(True)
    logits = graph(tape_of(one), at)
    before = logits.detach().clone()
    with_gradient(lambda v: graph(tape_of(other), v), somewhere(other))
    assert torch.equal(logits.detach(), before)
    cotangent = networks.random_tensor(*logits.shape, seed=7)
    (gradient,) = torch.autograd.grad(logits, at, cotangent)
    assert torch.allclose(gradient, with_gradient(tape_of(one), somewhere(one))[1], rtol=1e-5, atol=1e-6)
    assert [each.replays for each in emulated] == [2, 1], "the first one's gradient was computed step by step"


class OnAGpu(Tape):
    """A tape that claims to be on a GPU, and counts its runs step by step."""

    def __call__(self, values: Tensor, constants: object = None) -> Tensor:
        runs.append(1)
        return replaced(self, "cpu")(values, constants)  # type: ignore[arg-type]


runs: list[int] = []


def replaced(tape: Tape, device: str) -> Tape:
    fields = {name: getattr(tape, name) for name in tape.__dataclass_fields__} | {"device": device}
    return (OnAGpu if device == "cuda" else Tape)(**fields)


def on_a_gpu(suffix: Suffix) -> Tape:
    return replaced(tape_of(suffix), "cuda")


def test_graphs_are_for_those_who_ask(emulated: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    """By default nothing is captured, also on a GPU; `wrap(cuda_graphs=True)` captures."""
    monkeypatch.setattr(running, "_CAPTURE_AFTER", 0)
    model = networks.slim_saliency()
    for asked in ({}, {"cuda_graphs": True}):
        net = interactify.wrap(model, resolution=64, **asked)  # type: ignore[arg-type]
        suffix = suffix_of(net, networks.random_photo(64, 64))
        net.runtime.executor("shape", on_a_gpu(suffix), somewhere(suffix))
        assert bool(emulated) == bool(asked) == ("CUDA graphs, from" in net.runtime.executor.text("cuda"))
    assert net.runtime.executor.text("cpu") == "", "a processor has none"
    assert interactify.wrap(model, **net.options).runtime.executor.cuda_graphs, "kept by copies and other devices"


def test_passes_are_captured_once_a_shape_has_been_run_often(emulated: list[Graph]) -> None:
    net = interactify.wrap(networks.slim_saliency(), resolution=64)
    suffix = suffix_of(net, networks.random_photo(64, 64))
    tape, values = on_a_gpu(suffix), somewhere(suffix)
    run = running.Executor(False, None, net.runtime.pointers, cuda_graphs=True)
    for _ in range(running._CAPTURE_AFTER):
        run("shape", tape, values)
    assert not emulated and "from evaluation" in run.text("cuda")
    run("shape", tape, values)
    assert [each.replays for each in emulated] == [2, 1], "compared once, and run"
    runs.clear()
    logits = run("shape", tape, values)
    assert not runs and torch.allclose(logits, tape_of(suffix)(values), atol=1e-5)


def test_graphs_are_captured_again_after_the_weights_change(emulated: list[Graph]) -> None:
    """The folded weights are then new tensors at other addresses."""
    model = networks.slim_saliency()
    net = interactify.wrap(model, resolution=64)
    run = running.Executor(False, None, net.runtime.pointers, cuda_graphs=True)
    for factor in (1.0, 1.3):
        with torch.no_grad():
            model.encoder.model.conv1.weight.mul_(factor)
        suffix = suffix_of(net, networks.random_photo(64, 64))
        values = somewhere(suffix)
        for _ in range(running._CAPTURE_AFTER + 1):
            logits = run("shape", on_a_gpu(suffix), values)
        assert torch.allclose(logits, tape_of(suffix)(values), atol=1e-5)
        assert len(emulated) == (2 if factor == 1.0 else 4)


def test_a_graph_that_gives_something_else_is_not_used(emulated: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graph, "replay", lambda self: None)  # as if nothing had been captured
    monkeypatch.setattr(running, "_CAPTURE_AFTER", 0)
    suffix = opened("the embedded network")
    run = running.Executor(False, None, suffix.runtime.pointers, cuda_graphs=True)
    logits = run("shape", on_a_gpu(suffix), somewhere(suffix))
    assert torch.equal(logits, tape_of(suffix)(somewhere(suffix)))
    assert "it gives other logits or gradients" in run.text("cuda")


def test_few_graphs_are_held_and_what_keeps_changing_runs_step_by_step(
    emulated: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_CAPTURE_AFTER", 0)
    net = interactify.wrap(networks.slim_saliency(), resolution=128, variables="scale_bias@C")
    sizes = ((64, 64), (64, 96), (96, 64), (96, 96), (64, 128), (128, 64))
    suffixes = [suffix_of(net, networks.random_photo(*size)) for size in sizes]
    run = running.Executor(False, None, net.runtime.pointers, cuda_graphs=True)
    for size, suffix in zip(sizes, suffixes, strict=True):
        run(size, on_a_gpu(suffix), suffix.start)
    assert sum(known.runner is not None for known in run._shapes.values()) == running._MAX_GRAPHS
    for suffix in (*suffixes, *suffixes):
        run("all in one", on_a_gpu(suffix), suffix.start)
    assert "differ from photo to photo" in run.text("cuda")


def test_what_cannot_be_captured_is_run_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> object:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(running, "CudaGraph", broken)
    monkeypatch.setattr(running, "_CAPTURE_AFTER", 0)
    calls: list[Tensor] = []

    class Recorded(Tape):
        def __call__(self, values: Tensor, constants: object = None) -> Tensor:
            calls.append(values)
            return values

    run = running.Executor(False, None, set, cuda_graphs=True)
    tape = Recorded((), {}, 0, 1, Mode(True, None), "cuda")
    for _ in range(3):
        run("shape", tape, torch.zeros(1))
    assert len(calls) == 3
    assert run.text("cuda") == (
        "step by step, not by CUDA graphs: RuntimeError: operation not permitted when stream is capturing"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("variables", ["input", "scale_bias@B"])
def test_clicks_on_a_gpu_are_those_on_a_cpu(variables: str) -> None:
    photo = networks.random_photo(64, 64)
    results: list[list[np.ndarray]] = []
    for device in ("cuda", "cpu"):
        model = networks.slim_saliency().double().to(device)
        net = interactify.wrap(model, variables=variables, max_evaluations=8, cuda_graphs=True)
        session = net.session(photo)
        clicks = [(20, 30, False), (50, 10, True), (10, 50, True), (40, 40, False), (30, 5, True), (5, 30, False)]
        results.append([session.click(x=x, y=y, positive=p).probability for x, y, p in clicks])
        if device == "cuda":
            assert "CUDA graphs, from" in net.describe()
            runners = [known.runner for known in net.runtime.executor._shapes.values()]
            assert any(runner is not None and runner._turn > 2 for runner in runners), "captured and replayed"
    assert all(np.abs(a - b).max() < 1e-4 for a, b in zip(*results, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_waits_for_the_gpu_is_not_captured() -> None:
    class Waits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            out = self.conv(x)
            return out if float(out.detach().max()) > -1e9 else -out

    net = interactify.wrap(Waits().cuda(), cuda_graphs=True)
    session = net.session(networks.random_photo(64, 64))
    for x in range(12):  # each at least one evaluation that resumes no earlier pass
        session.click(x=5 * x, y=5 * x, positive=x % 2 == 0)
    assert "step by step, not by CUDA graphs: which branches the network takes depends on values" in net.describe()
