"""precision="auto": evaluations in bfloat16 steer a click, and nothing else about a session is different."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import interactify
from interactify.brs.solving import STEERED
from interactify.interactive import Interactive
from interactify.network.precision import VARIABLE
from interactify.refinement.problem import minimise
from interactify.runtime.steering import Steering
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo(96, 64, seed=3)
CLICKS = [(20, 30, True), (50, 80, True), (10, 10, False), (40, 40, False)]


@pytest.fixture(autouse=True)
def in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that has it: the arithmetic is the same on others, and only slower."""
    monkeypatch.setenv(VARIABLE, "bfloat16")


def net_of(precision: str = "auto", **options: object) -> Interactive:
    return interactify.wrap(networks.slim_saliency(), resolution=96, precision=precision, **options)  # type: ignore[arg-type]


def clicked(session: Session) -> Session:
    for x, y, positive in CLICKS:
        session.click(x, y, positive)
    return session


def test_it_is_the_default_and_describe_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    net = interactify.wrap(networks.slim_saliency(), resolution=96)
    assert net.session(PHOTO).initial_step.crop.passes.__class__ is Steering
    assert "bfloat16 steers a click" in net.describe()
    assert "bfloat16" not in net_of("float32").describe()
    monkeypatch.setenv(VARIABLE, "float32")
    assert "bfloat16" not in interactify.wrap(networks.slim_saliency(), resolution=96).describe()


def test_before_a_click_it_is_the_networks_own_output() -> None:
    model = networks.slim_saliency()
    session = interactify.wrap(model, resolution=96).session(PHOTO)
    with torch.no_grad():
        assert torch.equal(session.initial_step.log_odds, model(session.initial_step.crop.image))


@pytest.mark.parametrize("variables", ["input", "maps"])
def test_what_is_shown_comes_from_single_precision(variables: str) -> None:
    session = net_of(variables=variables, propagation="none").session(PHOTO)
    for x, y, positive in CLICKS:
        result = session.click(x, y, positive)
        step = session.steps[-1]
        expected = step.crop.suffix(step.values, ())
        torch.testing.assert_close(result.logits, expected, rtol=0, atol=0)
        assert not torch.equal(expected, step.crop.steering(step.values, ()))
        shown = [bool(result.mask[at.y, at.x]) for at in map(_pixel, result.clicks)]
        assert result.satisfied == (shown == [click.positive for click in result.clicks])


@pytest.mark.parametrize("variables", ["scale_bias@B", "bias_field@B", "rows_columns@B"])
def test_nothing_steers_at_a_layer_where_clicks_take_few_evaluations(variables: str) -> None:
    kept, plain = (net_of(each, variables=variables).session(PHOTO) for each in ("auto", "float32"))
    assert "layer" in kept.initial_step.crop.suffix.unsteered
    for x, y, positive in CLICKS:
        assert torch.equal(kept.click(x, y, positive).logits, plain.click(x, y, positive).logits)
    weights = kept.wrapped.runtime.suffixes.frozen.tensors()
    assert not any(tensor.dtype == torch.bfloat16 for tensor in weights), "no copy is kept that nothing uses"


class _pixel:
    def __init__(self, click: interactify.Click) -> None:
        self.x, self.y = int(click.x), int(click.y)


def test_it_is_the_same_each_time_alone_in_a_batch_undone_and_from_a_file(tmp_path: Path) -> None:
    net = net_of()
    session = clicked(net.session(PHOTO))
    again = clicked(net_of().session(PHOTO))
    assert session.result.probability.tobytes() == again.result.probability.tobytes()
    before = session.result.probability.tobytes()
    session.undo()
    session.redo()
    assert session.result.probability.tobytes() == before
    session.save(tmp_path / "session.npz")
    loaded = interactify.load_session(tmp_path / "session.npz", net, PHOTO)
    assert loaded.result.probability.tobytes() == before
    loaded.undo()
    session.undo()
    assert loaded.result.probability.tobytes() == session.result.probability.tobytes()
    first = interactify.Click(*CLICKS[0])
    (together, other) = net.refine(PHOTO, [[first], [interactify.Click(50, 80)]])
    alone = net.session(PHOTO).click(*CLICKS[0])
    assert np.abs(together.probability - alone.probability).max() < 1e-3
    assert together.evaluations == alone.evaluations and other.satisfied


def test_two_superseded_clicks_show_what_single_precision_begins_with() -> None:
    session = net_of().session(PHOTO)
    refiner = session.refiner
    step = refiner.refine((), (interactify.Click(20, 30),), None, lambda: "superseded")
    assert step.result.status == "superseded"
    plain = (
        net_of("float32").session(PHOTO).refiner.refine((), (interactify.Click(20, 30),), None, lambda: "superseded")
    )
    assert step.result.probability.tobytes() == plain.result.probability.tobytes()


def test_clicks_that_contradict_each_other_end_within_the_budget() -> None:
    session = net_of(max_evaluations=20).session(PHOTO)
    session.click(20, 30, True)
    result = session.click(21, 30, False)
    result = session.click(20, 31, False)
    assert STEERED < 20 and result.evaluations <= 20


def test_what_steers_is_run_and_single_precision_once() -> None:
    """Counted where the passes run: N - 1 evaluations steer, and one answers."""
    session = net_of().session(PHOTO)
    refiner, passes = session.refiner, []

    def run(suffix: object, values: torch.Tensor, clicks: object) -> torch.Tensor:
        passes.append((type(suffix).__name__, torch.is_grad_enabled()))
        return suffix(values, clicks)  # type: ignore[operator]

    problem = refiner.problem((), (interactify.Click(20, 30),), None)
    found = minimise(session.wrapped, problem, run, lambda: None)
    assert found.reached
    assert passes == [*[("Steering", True)] * (found.evaluations - 1), ("Suffix", False)]


def test_another_value_of_the_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "half")
    with pytest.raises(interactify.OptionError, match=r"INTERACTIFY_PRECISION.*got 'half'"):
        net_of()
    net_of("float32")


class Portrait(networks.Plain):
    """Runs what has no kernel in bfloat16, in pictures that are higher than wide."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return torch.fft.irfft2(torch.fft.rfft2(y), s=y.shape[-2:]) if y.shape[-1] < y.shape[-2] else y


def test_one_photo_that_fails_in_bfloat16_is_alone_in_it() -> None:
    net = interactify.wrap(networks.seeded(Portrait), resolution=96)
    landscape = np.ascontiguousarray(PHOTO.transpose(1, 0, 2))

    def probability(photo: np.ndarray) -> bytes:
        session = net.session(photo)
        for x, y, positive in CLICKS:
            session.click(min(x, photo.shape[1] - 1), min(y, photo.shape[0] - 1), positive)
        return session.result.probability.tobytes()

    before = probability(landscape)
    assert net.session(landscape).initial_step.crop.suffix.unsteered == ""
    first = probability(PHOTO)
    assert "bfloat16" in net.session(PHOTO).initial_step.crop.suffix.unsteered
    assert probability(landscape) == before and probability(PHOTO) == first
    clicks = [[interactify.Click(20, 30)], [interactify.Click(50, 80)]]
    unsteered = interactify.wrap(net.unwrap(), resolution=96, precision="float32").refine(PHOTO, clicks)
    for each, other in zip(net.refine(PHOTO, clicks), unsteered, strict=True):
        assert each.probability.tobytes() == other.probability.tobytes() and each.evaluations == other.evaluations
    plain = interactify.wrap(net.unwrap(), resolution=96, precision="float32").session(PHOTO)
    assert clicked(plain).result.probability.tobytes() == first, "as without any steering"


def test_views_of_weights_are_not_kept_for_each_photo() -> None:
    class Transposed(networks.Plain):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = torch.nn.Parameter(torch.eye(64) * 0.9)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) @ self.matrix[:, : x.shape[-1]].t()

    net = interactify.wrap(networks.seeded(Transposed), resolution=64, fit="squash")
    kept = []
    for seed in range(4):
        net.session(networks.random_photo(64, 64, seed=seed)).click(20, 30)
        kept.append(len(net.runtime.suffixes.frozen.derived))
    assert net.session(PHOTO).initial_step.crop.suffix.unsteered == ""
    assert kept[0] == kept[-1] > 0
