"""The speed benchmark compares like with like: the same network, the same energy, the same clicks; its statistics."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import interactify
from benchmarks import speed, speed_cases, speed_contestants, speed_measure, speed_more, speed_page, speed_tables
from benchmarks.speed_cases import Clicks, measure_memory
from benchmarks.speed_contestants import OURS, Ours, Problem, Settled
from benchmarks.speed_cuts import (
    BUILDERS,
    MEAN,
    RANDOM_WEIGHTS,
    STD,
    Head,
    Whole,
    built,
    inertia,
    normalised,
    photo_of,
    points_of,
)
from interactify.brs.energy import Margin
from interactify.evaluation.timing import Clock
from interactify.network.variables import target_logits, variables_named
from interactify.runtime import pass_cache as resumed

SIZE = 64
POINTS = ("A", "B", "C")


@pytest.mark.parametrize("name", BUILDERS)
def test_cuts_give_the_whole_network(name: str) -> None:
    """At the identity the network's own logits; elsewhere the logits and gradients of the library, at its A, B, C."""
    model, photo = built(name, SIZE), photo_of((SIZE, 96))
    image = normalised(photo)
    plain = model(image)
    net = interactify.wrap(model, mean=MEAN, std=STD, zoom=False)
    for point in (*POINTS, "input"):
        variables = variables_named("input" if point == "input" else f"scale_bias@{point}", net.network)
        if point != "input":
            assert net.spec.insertion_points()[point].name == points_of(name)[point]
        cuts = [Whole(model, None if point == "input" else points_of(name)[point])]
        cuts += [] if point == "input" else [Head(model, point)]
        for cut in cuts:
            cached = cut.cached(image)
            start = cut.start(cached)
            torch.testing.assert_close(cut.logits(cached, start), plain)
            values = (0.1 * torch.randn(start.shape)).requires_grad_(True)
            logits = cut.logits(cached, values)
            (gradient,) = torch.autograd.grad(logits[0, 0, 20, 30], values)
            theirs = target_logits(net.network, variables, image, values, [], None)
            (expected,) = torch.autograd.grad(theirs[0, 0, 20, 30], values)
            torch.testing.assert_close(logits, theirs, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
            torch.testing.assert_close(inertia(values), variables.inertia(values))
            torch.testing.assert_close(cut.logits(cached, start), plain)  # the cache was not overwritten


@pytest.mark.parametrize("name", BUILDERS)
def test_everyone_reads_the_same_image(name: str) -> None:
    net = interactify.wrap(built(name, SIZE), mean=MEAN, std=STD, resolution=96)
    photo = photo_of((SIZE, 96))
    view = net.network.view((SIZE, 96))
    torch.testing.assert_close(net.network.image(photo, view), normalised(photo))


@pytest.mark.parametrize("name", RANDOM_WEIGHTS)
def test_random_weights_have_something_to_put_right(name: str) -> None:
    model = built(name, SIZE)
    logits = model(normalised(photo_of((SIZE, SIZE))))
    assert float(logits.std()) == pytest.approx(2, rel=1e-3) and float(logits.mean()) == pytest.approx(0, abs=1e-3)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert (model(torch.ones(1, 3, 64, 64)) == built(name, SIZE)(torch.ones(1, 3, 64, 64))).all()


def test_the_energy_is_the_librarys() -> None:
    cut = Head(built("embedded", SIZE), "B")
    cached = cut.cached(normalised(photo_of((SIZE, SIZE))))
    values = (0.1 * torch.randn(cut.start(cached).shape)).requires_grad_(True)
    clicks = [interactify.Click(10, 20, True), interactify.Click(40, 5, False)]
    problem = Problem(cut, cached, clicks, torch.device("cpu"))
    energy = problem.energy(values)
    clicked = cut.logits(cached, values)[0, 0, [20, 5], [10, 40]][:, None]
    corrective = Margin().corrective(clicked, torch.tensor([True, False]))
    expected = corrective + Margin().inertia * (values[0].square().sum() + 10 * values[1].square().sum())
    torch.testing.assert_close(energy, expected)
    assert (Margin().margin, Margin().aim) == (speed_contestants.MARGIN, speed_contestants.AIM)
    certain = [interactify.Click(10, 20, bool(cut.logits(cached, values)[0, 0, 20, 10] > 0))]
    settled = Problem(cut, type(cached)(cached.changed, lambda x: 1e3 * cached.tail(x)), certain, torch.device("cpu"))
    with pytest.raises(Settled):
        settled.energy(values)


@pytest.mark.parametrize("point", ["input", "B"])
def test_all_contestants_follow_the_clicks(point: str) -> None:
    model, photo = built("embedded", SIZE), photo_of((SIZE, SIZE))
    everyone = speed_contestants.contestants(model, "embedded", point, SIZE)
    assert everyone[0].name == OURS and len(everyone) == (3 if point == "input" else 5)
    clicks = speed_cases.script(everyone[-1], photo, 2)
    played = {each.name: speed_cases.play(each, photo, clicks, Clock()) for each in everyone}
    for name, one in played.items():
        assert one.outcomes[0].evaluations > 1, name  # the first click is on a wrong label: there is work
        assert one.outcomes[-1].satisfied == played[OURS].outcomes[-1].satisfied == (True, True), name
        assert all(outcome.settled for outcome in one.outcomes), name
        assert one.passes[0] - one.passes[1] == len(clicks)
        for click, outcome in zip(clicks, one.outcomes, strict=True):
            assert outcome.mask[int(click.y), int(click.x)] == click.positive
    if point == "B":  # the same solver takes the same steps on the whole network and on its head
        assert (played["SciPy, whole"].outcomes[0].mask == played["SciPy, head"].outcomes[0].mask).mean() > 0.999


def test_evaluations_end_at_the_most_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_contestants, "MOST_EVALUATIONS", 3)
    monkeypatch.setattr(speed_contestants, "MARGIN", 1e6)
    monkeypatch.setattr(speed_contestants, "AIM", 2e6)
    model, photo = built("embedded", SIZE), photo_of((SIZE, SIZE))
    for other in speed_contestants.contestants(model, "embedded", "C", SIZE)[1:]:
        other.open(photo)
        outcome = other.click(interactify.Click(20, 20))
        assert outcome.evaluations == 3 and not outcome.settled


def test_the_time_without_tracing() -> None:
    outcomes = [speed_contestants.Outcome(4, True, torch.zeros(1).numpy(), (True,))]
    whole = speed_cases.Played(1.0, [8.0], outcomes)
    assert speed_more.untraced(whole, evaluations=3) == 7.0  # 1 to open, 2 for each evaluation


def test_overhead_counts_passes() -> None:
    """Two evaluations, one backward pass, at 1 s forward and 3 s for both; 8 s were taken."""
    outcomes = [speed_contestants.Outcome(2, True, torch.zeros(1).numpy(), (True,))]
    played = speed_cases.Played(0.0, [8.0], outcomes)
    row = speed_cases._row([played], [played], [(1.0, 3.0)], [0.5], played)
    assert row["passes"]["median"] == 16, "8 s for a click, half a second for a plain pass of the whole network"
    assert row["overhead"]["median"] == pytest.approx(8 / 6)
    assert row["overhead_of_passes_made"]["median"] == pytest.approx(8 / 4)


def test_operations_are_counted() -> None:
    weight = torch.rand(64, 32)
    x = torch.rand(16, 64, requires_grad=True)
    assert speed_measure.operations(lambda: (x @ weight).sum().backward()) == 2 * 2 * 16 * 64 * 32


def test_the_users_clicks_are_on_wrong_pixels() -> None:
    _, *others = speed_contestants.contestants(built("embedded", SIZE), "embedded", "B", SIZE)
    photo = photo_of((SIZE, SIZE))
    (click,) = speed_cases.script(others[-1], photo, 1)
    others[-1].open(photo)
    assert bool(others[-1].plain[int(click.y), int(click.x)]) != click.positive
    plain = others[-1].plain
    apart = speed_more.object_clicks(plain, 7)
    assert len({(click.x, click.y) for click in apart}) == 7
    assert all(bool(plain[click.y, click.x]) != click.positive for click in apart)


def test_the_table_covers_every_axis() -> None:
    cases = speed.table()
    clicks = [case for case in cases if isinstance(case, speed_cases.Clicks)]
    assert {case.size for case in clicks} == {256, 512, 1024} and {case.network for case in clicks} == set(BUILDERS)
    assert {case.point for case in clicks} == {"input", *POINTS} and {case.clicks for case in clicks} >= {1, 20}
    assert {case.objects for case in cases if isinstance(case, speed_more.Objects)} == {1, 4, 16, 64}
    assert len({case.name for case in cases}) == len(cases)
    assert any(case.objects == 32 for case in speed.table("cuda") if isinstance(case, speed_more.Objects))


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of the smallest cases."""
    path = tmp_path_factory.mktemp("speed") / "speed-tiny.json"
    cases = [speed_cases.Clicks("embedded", "C", SIZE, 2), speed_more.First("embedded", "C", SIZE)]
    reports: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(speed, "peak_operations", lambda device: 1e11)
        patched.setattr(speed, "effort_for", lambda case, quick, seconds: speed_cases.Effort(2, 2))
        found = speed.run(cases, path, "cpu", False, reports.append)
    assert "embedded C 64, 2 clicks" in reports[0] and json.loads(path.read_text()) == found
    return found


@pytest.fixture
def results(run_once: dict[str, Any]) -> dict[str, Any]:
    """That run, to be changed at will."""
    return copy.deepcopy(run_once)


def test_a_run_is_saved_and_the_page_is_written_from_it(results: dict[str, Any], tmp_path: Path) -> None:
    (row,) = results["clicks"].values()
    assert results["machine"]["torch"] and results["machine"]["threads"] == torch.get_num_threads()
    assert row["repetitions"] == 2 and len(row["contestants"]) == 5
    for name, each in row["contestants"].items():
        assert each["agrees_with_ours"] and len(each["seconds"]) == 2 and len(each["evaluations"]) == 2, name
    assert row["contestants"][OURS]["times_ours"] == {"median": 1.0, "q1": 1.0, "q3": 1.0}
    assert row["memory"]["bare"] > 0 and row["operations"]["dependent"] > 0 and math.isfinite(row["share_of_peak"])

    assert row["plain"]["median"] > 0
    for each in row["contestants"].values():
        assert each["passes"]["q1"] <= each["per_click"]["q3"] / row["plain"]["q1"]

    row["contestants"][OURS]["passes"] = {"median": 2.5, "q1": 2.4, "q3": 2.75}
    row["contestants"]["SciPy, head"]["times_ours"] = {"median": 0.71, "q1": 0.7, "q3": 0.72}
    row["contestants"][OURS]["per_click"] = {"median": 0.0123, "q1": 0.012, "q3": 0.0127}
    (tmp_path / "speed-tiny.json").write_text(json.dumps(results))
    older = {**results, "machine": {**results["machine"], "date": "2020-01-01", "torch": "0.1.2"}}
    another = {**older, "machine": {**older["machine"], "processor": "another one"}}
    (tmp_path / "speed-another.json").write_text(json.dumps(another))
    (tmp_path / "speed-older.json").write_text(json.dumps(older))
    (tmp_path / "speed-quick.json").write_text(json.dumps({**older, "quick": True}))
    speed_page.write_page(tmp_path, tmp_path / "speed.md")
    page = (tmp_path / "speed.md").read_text()
    assert "× 0.71 (0.70–0.72)" in page and "| 2.50 (2.40–2.75) | 12.3 (12–12.7)," in page  # a loss is shown
    assert "| times faster than SciPy, head, at A, B, C | ≥ 1.2 | 0.71 | 0.71 | 1 | 0 |" in page
    assert page.count("## On ") == 2 and "## On another one" in page, "the newest of each processor"
    assert page.count("torch 0.1.2") == 1, "that of the other processor"
    assert results["machine"]["processor"] in page


def test_results_of_another_machine_are_not_mixed_in(results: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "speed-tiny.json"
    path.write_text(json.dumps(results))
    assert set(speed.earlier_results(path, "cpu", False)["clicks"]) == set(results["clicks"])
    results["machine"]["threads"] += 1
    path.write_text(json.dumps(results))
    with pytest.raises(ValueError, match="threads"):
        speed.earlier_results(path, "cpu", False)


def clicked(point: str, size: int, forward: float, per_click: float, **more: Any) -> dict[str, Any]:
    """A case of a run: what passes are computed from."""
    ours = {"per_click": {"median": per_click}, **more.pop("ours", {})}
    case = {"network": "unet", "point": point, "size": size, "clicks": 1, "name": f"unet {point} {size}"}
    return {"case": case, "bare": {"forward": {"median": forward}}, "contestants": {OURS: ours}, **more}


def test_passes_where_a_run_measured_the_whole_network() -> None:
    """By itself; else by the bare part at the input, of the same network and size; else not at all."""
    cases = [clicked("B", 64, 0.01, 0.1), clicked("input", 64, 0.2, 0.7), clicked("B", 96, 0.01, 0.1)]
    results = {"clicks": {case["case"]["name"]: case for case in cases}}
    found = [speed_tables.passes_a_click(results, case, case["contestants"][OURS]) for case in cases]
    assert found == [{"median": pytest.approx(0.5)}, {"median": pytest.approx(3.5)}, None]
    notes = "\n".join(speed_tables._about_passes(results))
    assert "the bare part at the input" in notes and "no pass of the whole network at that size (unet B 96)." in notes
    paired = {"median": 3.0, "q1": 2.9, "q3": 3.1}
    own = clicked("B", 64, 0.01, 0.1, plain={"median": 0.4}, ours={"passes": paired})
    results["clicks"]["unet B 64"] = own
    assert speed_tables.passes_a_click(results, own, own["contestants"][OURS]) == paired
    del results["clicks"]["unet B 96"], results["clicks"]["unet input 64"]
    assert speed_tables._about_passes(results) == []


def test_how_a_gpus_passes_were_run() -> None:
    for here, text in (
        ({"device": "cpu"}, ""),
        ({"device": "cuda:1"}, "replayed as CUDA graphs"),  # by default, then
        ({"device": "cuda", "cuda_graphs": False}, "step by step"),
    ):
        told = speed_tables.graphs_text(here)
        assert text in told and bool(text) == bool(told)
        assert speed_tables.with_graphs(here) == ("graphs, as" in told)


def test_the_page_without_results(tmp_path: Path) -> None:
    speed_page.write_page(tmp_path, tmp_path / "speed.md")
    text = (tmp_path / "speed.md").read_text()
    assert text.endswith("measures them on your machine.\n") and "nothing is claimed from it" in text


def test_the_stored_page_is_that_of_the_stored_results() -> None:
    """No number in docs/speed.md is typed by hand, and the page is up to date."""
    assert speed_page.PAGE.read_text(encoding="utf-8") == speed_page.page_text()


def test_objects_in_one_batch_equal_those_one_by_one() -> None:
    case = speed_more.Objects("embedded", "B", SIZE, 3)
    found = speed_more.measure_objects(case, speed_cases.Effort(1, 1))
    assert found["pixels_unlike_alone"] <= 3 and len(found["seconds"]) == 3


def test_objects_one_by_one_are_independent() -> None:
    model, photo = built("embedded", SIZE), photo_of((SIZE, SIZE))
    ours, published = (speed_contestants.contestants(model, "embedded", "B", SIZE)[index] for index in (0, 2))
    assert isinstance(ours, Ours) and published.name == "SciPy, head"
    ours.open(photo)
    clicks = speed_more.object_clicks(ours.plain, 2)
    for one_by_one, each in ((speed_more.one_by_one, ours), (speed_more.others_one_by_one, published)):
        there, back = one_by_one(each, photo, clicks), one_by_one(each, photo, clicks[::-1])
        assert (there[0] == back[1]).all() and (there[1] == back[0]).all()
        assert all(bool(mask[click.y, click.x]) == click.positive for mask, click in zip(there, clicks, strict=True))


@pytest.mark.parametrize("point", [*(pytest.param(each, marks=pytest.mark.slow) for each in ("input", "A")), "B"])
def test_a_click_needs_no_more_memory_than_one_bare_pass(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its peak at most 1.1 times one forward and backward pass of the same part, nothing of it run before."""
    monkeypatch.setattr(resumed, "ROOM", 0)
    model, photo = built("embedded", 128), photo_of((128, 128))
    click = interactify.Click(64, 64, positive=False)
    found = measure_memory(Clicks("embedded", point, 128), photo, click, model, "cpu")
    assert found["click"] > 0 and found["ratio"] <= 1.1
