"""The embedded network on real photos: what the simulated user reaches, and our solver compared with SciPy's."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import interactify
from interactify import brs
from interactify.brs.energy import Margin
from interactify.evaluation import Evaluation, Record, evaluate, folder, next_click
from interactify.learning import mean_iou, photos_in
from interactify.network.variables import target_logits
from tests.fixtures import networks

pytestmark = pytest.mark.data


def clicked(data_root, clicks, every=1):
    samples = list(folder(data_root / "GrabCut50"))
    assert len(samples) == 50
    return evaluate(interactify.wrap(interactify.zoo.load()), samples[::every], clicks=clicks)


def stored_run():
    """The figures in README and docs are from this file; a new network needs a new run."""
    path = Path(__file__).parent.parent / "benchmarks/results/accuracy.json"
    return json.loads(path.read_text())["GrabCut50, every 1, 20 clicks"]["default"]


@pytest.fixture(scope="module")
def grabcut(data_root):
    """Five clicks on every seventh photo."""
    return clicked(data_root, 5, every=7)


def test_clicks_correct_the_mask_on_grabcut(grabcut):
    print(f"\n{grabcut}")
    before, after = grabcut.iou_after(0), grabcut.iou_after(5)
    assert after >= 0.85 or after >= before + 0.25
    assert grabcut.satisfied >= 0.99


def test_no_photo_gets_worse(grabcut):
    pairs = {r.name: (r.curve[0], r.curve[min(5, len(r.curve) - 1)]) for r in grabcut.records}
    assert not {name: pair for name, pair in pairs.items() if pair[1] < pair[0] - 0.05}


def test_the_stored_results_are_of_this_network(grabcut):
    names = {record.name for record in grabcut.records}
    records = [Record.from_json(record) for record in stored_run()["records"] if record["name"] in names]
    assert len(records) == len(names) == 8
    stored = Evaluation(tuple(records), 20)
    for clicks in (0, 1, 2, 3, 5):
        assert grabcut.iou_after(clicks) == pytest.approx(stored.iou_after(clicks), abs=0.02)


@pytest.mark.slow
def test_the_stored_numbers_of_clicks_are_of_this_network(data_root):
    found, stored = clicked(data_root, 20), stored_run()["summary"]
    for clicks in (0, 1, 2, 3, 5):
        assert found.iou_after(clicks) == pytest.approx(stored["iou_after"][str(clicks)], abs=0.02)
    assert found.noc(0.85) == pytest.approx(stored["noc_85"], abs=0.5)
    assert found.satisfied >= 0.99


def test_the_model_card_is_correct(data_root):
    card = json.loads((Path(interactify.zoo.__file__).parent / "saliency/training.json").read_text())[-1]
    network = interactify.zoo.load()
    photos = photos_in(data_root / "ECSSD", stems=(f"{i:04d}" for i in range(801, 1001, 10)))
    score = mean_iou(network, photos, 224, network.pretrained_cfg["mean"], network.pretrained_cfg["std"])
    assert score == pytest.approx(card["ecssd_0801_1000_iou"]["224"], abs=0.1)  # twenty photos of two hundred


@pytest.fixture(scope="module", params=[2, pytest.param(10, marks=pytest.mark.slow)], ids=lambda n: f"{n} photos")
def real_clicks(data_root, request):
    """For each of two real clicks on some photos: (SciPy's refinement, ours without a bound, ours by default).

    On the slim network: on the embedded one the bound does not save evaluations (docs/tried.md).
    """
    net = interactify.wrap(networks.slim_saliency(), zoom=False, propagation="none")
    unbounded = replace(Margin(), lower_bound=None)
    rows = []
    for sample in list(folder(data_root / "GrabCut50"))[: request.param]:
        session = net.session(sample.photo)
        clicked = np.zeros(sample.truth.shape, bool)
        for _ in range(2):
            click = next_click(sample.truth, session.result.mask, clicked)
            clicked[int(click.y), int(click.x)] = True
            clicks = (*session.interactions, click)
            crop, start = session.initial_step.crop, (session.steps or (session.initial_step,))[-1].values
            points = crop.view.points_to_network([(c.x, c.y) for c in clicks])
            labels = np.array([c.positive for c in clicks])

            def forward(values, image=crop.image):
                return target_logits(net.network, net.variables, image, values, (), None)

            rows.append(
                tuple(
                    brs.refine(forward, start, points, labels, energy=energy, solver=solver, max_evaluations=100)
                    for solver, energy in (("scipy", unbounded), ("lbfgs", unbounded), ("lbfgs", Margin()))
                )
            )
            session.click(click.x, click.y, click.positive)
    assert len(rows) == 2 * request.param
    return rows


def test_our_solver_beside_scipys_on_real_clicks(real_clicks):
    for scipys, ours, _ in real_clicks:
        assert ours.energy <= 1.001 * scipys.energy + 1e-9
        assert ours.evaluations <= 1.2 * scipys.evaluations


def test_the_bound_saves_evaluations_on_real_clicks(real_clicks):
    """With a lower bound of the energy, the first step is guessed from it; every click is still satisfied."""
    assert all(bounded.reached for *_, bounded in real_clicks)
    totals = [sum(row[i].evaluations for row in real_clicks) for i in range(3)]
    scipys, ours, bounded = totals
    print(f"\nevaluations for {len(real_clicks)} clicks: SciPy {scipys}, ours {ours}, ours with the bound {bounded}")
    assert totals[2] <= totals[0]
