"""The user's model stays as it was, whatever is done with it; the replica shares its weights and nothing else."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify.errors import InteractifyError, ModelError
from interactify.inspection.replica import independent_copy_of, replica_of
from tests.fixtures import networks

VARIABLES = ["input", "maps", "kernels", "scale_bias@down", "bias_field@down", "conv1x1@down"]


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that a user could notice of a model, tensors copied."""

    def kept(value: Tensor | None) -> Any:
        return () if value is None else (value.data_ptr(), value.detach().clone())

    return {
        "modules": {name: (id(m), type(m), m.training) for name, m in nn.Module.named_modules(model)},
        "hooks": {
            name: [list(v) for k, v in sorted(vars(m).items()) if "hooks" in k and isinstance(v, dict)]
            for name, m in nn.Module.named_modules(model)
        },
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "parameters": {name: kept(p) for name, p in model.named_parameters()},
        "gradients": {name: kept(p.grad) for name, p in model.named_parameters()},
        "buffers": {name: kept(b) for name, b in model.named_buffers()},
        "attributes": {
            f"{name}.{k}": kept(v)
            for name, m in nn.Module.named_modules(model)
            for k, v in vars(m).items()
            if isinstance(v, Tensor)
        },
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


def surroundings() -> dict[str, Any]:
    """The global settings and random states that a library has no business with."""
    state = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "numpy": (state[0], state[1].tolist(), *state[2:]),
        "python": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "errors": np.geterr(),
    }


def stateful() -> networks.Stateful:
    model = networks.seeded(networks.Stateful, evaluating=False)
    model.stem.register_forward_hook(lambda module, args, out: None)
    model.head.register_full_backward_hook(lambda module, before, after: None)
    return model


def test_snapshot_sees_what_it_should() -> None:
    model = stateful()
    before = snapshot(model)
    assert same(before, snapshot(model))
    changes = [
        lambda: model.norm.train(),
        lambda: model.head.requires_grad_(True),
        lambda: model.stem.register_forward_pre_hook(lambda module, args: None),
        lambda: model.down.weight.data.add_(1),
        lambda: setattr(model.stem.weight, "grad", None),
        lambda: model.passes.add_(1),
        lambda: model.last.add_(1),
    ]
    for change in changes:
        before = snapshot(model)
        change()
        assert not same(before, snapshot(model))


@pytest.mark.parametrize("variables", VARIABLES)
def test_model_and_surroundings_are_untouched(variables: str, tmp_path: Any) -> None:
    model = stateful()
    before, around = snapshot(model), surroundings()
    net = interactify.wrap(model, variables=variables)
    session = net.session(networks.random_photo())
    for x, y in ((10, 10), (80, 40)):
        session.click(x=x, y=y, positive=not bool(session.result.mask[y, x]))
    session.undo()
    session.redo()
    session.save(tmp_path / "session.npz")
    with contextlib.suppress(InteractifyError):  # see test_session_file.py::test_a_network_that_counts_its_passes
        interactify.load_session(tmp_path / "session.npz", net, networks.random_photo())
    net.describe()
    assert net.unwrap() is model
    assert same(before, snapshot(model))
    assert same(around, surroundings())


def test_reconfiguring_leaves_the_model_and_shares_nothing() -> None:
    model = stateful()
    before, around = snapshot(model), surroundings()
    for kernels in ("zero", "image"):
        wider = interactify.reconfigure_stem(model, kernels=kernels)
        assert wider.training and not wider.model.norm.training, "the copy has the mode of the original"
        optimiser = torch.optim.SGD(wider.parameters(), lr=0.1)
        wider(torch.rand(2, 3 + wider.maps, 64, 64)).sum().backward()
        optimiser.step()
    assert same(before, snapshot(model))
    around["torch"] = torch.get_rng_state()  # the test's own draws, and dropout in training mode
    assert same(around, surroundings())


def test_model_is_untouched_after_errors() -> None:
    model = networks.seeded(lambda: networks.Failing("nan"), evaluating=False)
    before, around = snapshot(model), surroundings()
    wrong: list[dict[str, Any]] = [
        {"variables": "nonsense"},
        {"variables": "scale_bias@nowhere"},
        {"energy": "nonsense"},
        {"solver": "nonsense"},
        {"stem": "nowhere"},
        {"output": "nowhere"},
        {"mean": (0.0,) * 7},
    ]
    for options in wrong:
        with pytest.raises(InteractifyError):
            interactify.wrap(model, **options)
    net = interactify.wrap(model, variables="scale_bias@down")
    session = net.session(networks.random_photo())
    model.turn(True)
    with pytest.raises(InteractifyError):
        session.click(x=5, y=5)
    with pytest.raises(InteractifyError):
        net.session(networks.random_photo())
    assert same(before, snapshot(model))
    assert same(around, surroundings())
    failing = networks.NeverRuns()
    with pytest.raises(ModelError):
        interactify.wrap(failing)
    assert same(around, surroundings())


def test_a_network_that_draws_numbers_leaves_the_random_state() -> None:
    """And gives the same mask for the same click."""
    model, around = networks.seeded(networks.Noisy), surroundings()
    net = interactify.wrap(model)
    masks = [net.session(networks.random_photo()).click(x=5, y=5).mask for _ in range(2)]
    assert same(around, surroundings())
    assert np.array_equal(*masks)


def test_replica_shares_weights_and_copies_buffers() -> None:
    model = stateful()
    replica = replica_of(model)
    for own, other in zip(replica.parameters(), model.parameters(), strict=True):
        assert own.data_ptr() == other.data_ptr() and not own.requires_grad
    for own, other in zip(replica.buffers(), model.buffers(), strict=True):
        assert torch.equal(own, other) and own.data_ptr() != other.data_ptr()
    assert replica.last.data_ptr() != model.last.data_ptr()
    assert not any(module.training for module in replica.modules())


def test_tied_weights_stay_tied() -> None:
    class Tied(networks.Plain):
        def __init__(self) -> None:
            super().__init__()
            self.deep.weight = nn.Parameter(torch.randn(12, 12, 3, 3))
            self.also = nn.Conv2d(12, 12, 3, stride=2, padding=1)
            self.also.weight = self.deep.weight

    for copied in (replica_of(Tied()), independent_copy_of(Tied())):
        assert copied.also.weight is copied.deep.weight


def test_later_training_affects_the_next_click() -> None:
    model = networks.seeded(networks.Plain)
    net = interactify.wrap(model)
    photo = networks.random_photo()
    before = net.session(photo).result.logits
    with torch.no_grad():
        model.head.bias.add_(1.0)
    assert torch.allclose(net.session(photo).result.logits, before + model.gain, atol=1e-4)


def test_independent_copy_keeps_modes_and_requires_grad() -> None:
    model = stateful()
    copied = independent_copy_of(model)
    for (name, own), (_, other) in zip(copied.named_parameters(), model.named_parameters(), strict=True):
        assert own.data_ptr() != other.data_ptr() and own.requires_grad == other.requires_grad, name
    assert [m.training for m in copied.modules()] == [m.training for m in model.modules()]


@pytest.mark.parametrize(
    "make",
    [
        lambda conv: torch.nn.utils.weight_norm(conv),
        lambda conv: torch.nn.utils.parametrizations.weight_norm(conv),
        lambda conv: torch.nn.utils.parametrizations.spectral_norm(conv),
    ],
    ids=["weight_norm, old", "weight_norm", "spectral_norm"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_parametrised_weights(make: Any) -> None:
    def build() -> nn.Module:
        model = networks.Plain()
        make(model.down)
        model(torch.rand(1, 3, 64, 64))  # leaves a non-leaf tensor as attribute, which deepcopy refuses
        return model

    model = networks.seeded(build)
    image = networks.random_tensor(1, 3, 64, 64)
    assert torch.equal(replica_of(model)(image), model(image))
    assert interactify.wrap(model).session(networks.random_photo()).click(x=3, y=3).evaluations >= 1


class Record:
    """An object of the user's own, as a forward hook's."""

    __slots__ = ("maps",)

    def keep(self, module: nn.Module, args: Any, out: Tensor) -> None:
        self.maps = {"skips": [out, (out * 2,)]}


class Keeping(networks.Plain):
    """Keeps maps of its last pass: as an attribute, in a list, in nested containers, and in an object behind a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.record = Record()
        self.stem.register_forward_hook(self.record.keep)

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        self.last, self.skips, self.by_name = out, [out], {"deep": (out * 2, [None, out])}
        return out


def test_maps_that_a_model_has_kept_are_copied_detached() -> None:
    model = networks.seeded(Keeping)
    plain = interactify.wrap(model).session(networks.random_photo()).result.logits
    image = networks.random_tensor(1, 3, 64, 64)
    model(image).sum().backward()  # from here on, everything kept belongs to a graph
    kept = model.by_name["deep"][1][1]
    replica = replica_of(model)
    for own, theirs in (
        (replica.skips[0], model.skips[0]),
        (replica.by_name["deep"][0], model.by_name["deep"][0]),
        (replica.record.maps["skips"][1][0], model.record.maps["skips"][1][0]),
    ):
        assert own.is_leaf and not own.requires_grad and torch.equal(own, theirs) and own is not theirs
    assert replica.skips[0] is replica.last is replica.by_name["deep"][1][1], "one tensor stays one"
    assert model.skips[0] is kept and kept.grad_fn is not None, "the model keeps its own"
    assert torch.equal(interactify.wrap(model).session(networks.random_photo()).result.logits, plain)
    assert torch.equal(independent_copy_of(model)(image), model(image))


@pytest.mark.parametrize(
    "build",
    [
        networks.TrainReturnsNothing,
        networks.OwnModules,
    ],
)
def test_overridden_module_methods(build: Any) -> None:
    model = networks.seeded(build)
    session = interactify.wrap(model).session(networks.random_photo())
    assert session.result.mask.shape == (64, 96)
    interactify.reconfigure_stem(model)


def test_what_cannot_be_copied_is_a_clear_error() -> None:
    with pytest.raises(ModelError, match="copied"):
        replica_of(networks.Uncopiable())
    for other in (networks.Plain, "a path", None, lambda x: x):
        with pytest.raises(ModelError, match=r"nn\.Module"):
            replica_of(other)  # type: ignore[arg-type]


def test_weights_that_are_not_there_yet_are_a_clear_error() -> None:
    with pytest.raises(ModelError):
        replica_of(nn.Sequential(nn.LazyConv2d(4, 3)))


@pytest.mark.parametrize("variables", VARIABLES)
def test_two_threads_do_not_meet(variables: str) -> None:
    """Two sessions on one net, at the same time, give what each gives alone."""
    net = interactify.wrap(networks.seeded(networks.Plain), variables=variables, max_evaluations=12)
    photos = [networks.random_photo(seed=seed) for seed in (1, 2)]
    places = [[(10, 10), (80, 50), (40, 20)], [(60, 5), (20, 60), (90, 30)]]

    def play(which: int) -> list[Tensor]:
        session, seen = net.session(photos[which]), []
        for x, y in places[which]:
            seen.append(session.click(x=x, y=y, positive=not bool(session.result.mask[y, x])).logits)
        return seen

    alone = [play(0), play(1)]
    for _ in range(2):
        together: list[list[Tensor]] = [[], []]
        start = threading.Barrier(2)

        def run(which: int, start: Any = start, together: Any = together) -> None:
            start.wait()
            together[which] = play(which)

        threads = [threading.Thread(target=run, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for expected, got in zip(alone, together, strict=True):
            assert len(got) == len(expected)
            assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
