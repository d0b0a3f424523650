"""Click networks in sessions: answers that are computed by hand, refinement only where it is needed, and everything
that sessions, predictor, page and evaluation do.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

import interactify
from interactify import Box, Click, ClickMaps, Labels, Mask, Paint, Scribble, interaction_maps
from interactify.evaluation import Sample, evaluate
from interactify.optim.status import Status
from tests.fixtures import click_networks, networks
from tests.fixtures.click_networks import by_hand, disk, photo

HARD = (80, 48)  # x, y in the red square
EASY = (30, 20)


# ---- what the forward pass answers -----------------------------------------------------------------------------------


def test_the_initial_prediction_is_that_of_no_clicks() -> None:
    session = by_hand().session(photo())
    logits = session.result.logits[0, 0].numpy()
    assert set(np.unique(logits)) == {-21.0, -1.0} and (logits == -21).sum() == 32 * 32
    model = click_networks.reconfigured(click_maps=ClickMaps("tanh"))  # 1 where there is no click
    net = interactify.wrap(model, mean=0.5, std=0.25)
    session = net.session(networks.random_photo())
    image = session.initial_step.crop.image
    with torch.no_grad():
        expected = model(torch.cat([image, torch.ones(1, 2, *image.shape[2:])], 1))
    assert torch.equal(session.result.logits, expected)


def test_clicks_are_answered_by_the_forward_pass_alone() -> None:
    session = by_hand().session(photo())
    first = session.click(*EASY)
    assert (first.mask == disk(*EASY)).all() and first.satisfied
    assert (first.evaluations, str(first.status)) == (1, "done")
    second = session.click(37, 20, positive=False)
    assert (second.mask == disk(*EASY) & ~disk(37, 20)).all() and second.satisfied and second.evaluations == 1
    third = session.click(50, 40)
    assert (third.mask == (disk(*EASY) & ~disk(37, 20)) | disk(50, 40)).all()
    assert not any(step.values.any() for step in session.steps)


@pytest.mark.parametrize("variables", ["click_maps", "input", "kernels", "scale_bias@A", "scale_bias@B"])
@pytest.mark.parametrize("energy", ["margin", "brs"])
def test_satisfied_clicks_run_the_network_once_and_take_no_gradient(
    variables: str, energy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the energy asks for beyond the label: it is for clicks that are refined."""
    model = click_networks.reconfigured()
    net = interactify.wrap(model, variables=variables, energy=energy, mean=0.5, std=0.25, zoom=False)
    session = net.session(networks.random_photo())
    passes: list[torch.Tensor] = []
    run = type(net.network).class_logits
    monkeypatch.setattr(type(net.network), "class_logits", lambda *args: passes.append(args[2]) or run(*args))
    monkeypatch.setattr(type(net.network), "plain_logits", lambda *args: pytest.fail("it ran once more"))
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **kwargs: pytest.fail("it was refined"))
    click = Click(20, 20)
    maps = interaction_maps([click], (64, 96))[None]
    with torch.no_grad():
        expected = model(torch.cat([session.initial_step.crop.image, maps], 1))
    click = Click(20, 20, bool(expected[0, 0, 20, 20] > 0))
    maps = interaction_maps([click], (64, 96))[None]
    with torch.no_grad():
        expected = model(torch.cat([session.initial_step.crop.image, maps], 1))
    assert bool(expected[0, 0, 20, 20] > 0) == click.positive, "choose another pixel for this test"
    result = session.add([click])
    assert torch.equal(result.logits, expected) and result.evaluations == len(passes) == 1


def test_feed_forward_alone() -> None:
    session = by_hand(max_evaluations=0).session(photo())
    result = session.click(*HARD)
    assert not result.mask.any() and not result.satisfied and (result.evaluations, result.status) == (1, "budget")
    assert "1 evaluation, all that max_evaluations allows" in result.unsatisfied[0].reason
    assert (session.click(*EASY).mask == disk(*EASY)).all()
    assert "never" in session.net.describe()


# ---- what is refined -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("energy", ["brs", "margin"])
def test_a_click_that_the_forward_pass_leaves_unsatisfied_is_refined(energy: str) -> None:
    """Its own map is moved, at the clicked pixel alone: the network has no larger convolution."""
    session = by_hand(energy=energy, variables="click_maps").session(photo())
    result = session.click(*HARD)
    assert result.satisfied and result.evaluations > 1 and str(result.status) == "done"
    x, y = HARD
    assert result.mask[y, x] and result.mask.sum() == 1
    values = session.steps[-1].values
    assert values.shape == (1, 2, 64, 96) and float(values[0, 0, y, x]) > 0 > float(values[0, 1, y, x])
    assert int((values != 0).sum()) == 2
    logits = session.result.logits[0, 0, y, x]
    assert float(logits) == pytest.approx(-21 + 8 * float(1 + values[0, 0, y, x]) - 8 * float(values[0, 1, y, x]), 1e-4)


def test_maps_start_anew_at_every_click() -> None:
    session = by_hand().session(photo())
    x, y = HARD
    session.click(x, y)
    result = session.click(*EASY)
    assert (result.mask == disk(*EASY) | (disk(x, y, radius=0))).all(), "all clicks, from the maps drawn of them"
    alone = by_hand().session(photo()).add([Click(x, y), Click(*EASY)])
    assert torch.equal(result.logits, alone.logits)


def test_scale_and_bias_go_on_from_the_last_click() -> None:
    model = click_networks.reconfigured(networks.seeded(lambda: networks.Plain(smooth=True)))
    net = interactify.wrap(model, variables="scale_bias@C", mean=0.5, std=0.25, zoom=False)
    session = net.session(networks.random_photo())
    deaf = [(x, y) for x, y in ((8, 8), (40, 30), (70, 50), (20, 50)) if not refused(session, x, y)]
    (x, y), (u, v) = [each for each in ((8, 8), (40, 30), (70, 50), (20, 50)) if each not in deaf][:2]
    session.click(x, y, positive=against(session, x, y))
    moved = session.steps[-1].values
    assert session.result.evaluations > 1 and moved.any()
    problem = session.refiner.problem(session.steps, (*session.interactions, Click(u, v)), None)
    assert problem.start is moved


def refused(session: Any, x: int, y: int) -> bool:
    """Whether the forward pass leaves some click on a pixel unsatisfied."""
    return against(session, x, y) is not None


def against(session: Any, x: int, y: int) -> bool | None:
    """The label that the forward pass does not give a clicked pixel; None where it gives both."""
    for positive in (True, False):
        problem = session.refiner.problem((), (Click(x, y, positive),), None)
        if not problem.satisfied_by(problem.log_odds(problem.suffix.plain())):
            return positive
    return None


def test_evaluations_and_time_are_limits() -> None:
    few = by_hand(max_evaluations=1).session(photo()).click(*HARD)
    assert (few.evaluations, few.satisfied, few.status) == (1, False, "budget")
    late = by_hand(max_seconds=0).session(photo()).click(*HARD)
    assert (late.evaluations, late.satisfied, late.status) == (1, False, "time")
    assert torch.equal(late.logits, by_hand(max_evaluations=0).session(photo()).click(*HARD).logits)


def test_a_superseded_click_is_the_forward_pass() -> None:
    session = by_hand().session(photo())
    with session.control.superseding():
        result = session.click(*HARD)
    assert str(result.status) == "superseded" and not session.steps[-1].values.any()
    assert torch.equal(result.logits, by_hand(max_evaluations=0).session(photo()).click(*HARD).logits)
    observed: list[torch.Tensor] = []
    refiner = session.refiner
    refiner.refine((), (Click(*HARD),), None, lambda: None, lambda problem, log_odds: observed.append(log_odds))
    assert len(observed) > 1 and torch.equal(observed[0], result.logits), "previews begin with the forward pass"


# ---- the previous mask -----------------------------------------------------------------------------------------------


def test_the_mask_before_the_newest_click_is_read() -> None:
    """Zeros before the first click; then the probability of the mask before, which keeps the first click's disk."""
    session = by_hand(previous=True).session(photo())
    first = session.click(*EASY)
    base = np.where(photo()[..., 0] > 0, -21.0, -1.0)
    expected = base + 8 * disk(*EASY)
    assert np.allclose(first.logits[0, 0].numpy(), expected, atol=1e-5)
    second = session.click(60, 40, positive=False)
    expected = base + 8 * disk(*EASY) - 8 * disk(60, 40) + 4 / (1 + np.exp(-expected))
    assert np.allclose(second.logits[0, 0].numpy(), expected, atol=1e-4)
    third = session.click(60, 10)
    expected = base + 8 * (disk(*EASY) | disk(60, 10)) - 8 * disk(60, 40) + 4 / (1 + np.exp(-expected))
    assert np.allclose(third.logits[0, 0].numpy(), expected, atol=1e-4)
    session.undo()
    assert torch.equal(session.click(60, 10).logits, third.logits)
    assert torch.equal(session.move(2, 60, 10).logits, third.logits)


def test_an_initial_mask_is_the_previous_mask_of_the_first_answer() -> None:
    mask = disk(60, 20, radius=9)
    session = by_hand(previous=True, max_evaluations=0).session(photo())
    result = session.add([Mask(mask), Click(*EASY)])
    base = np.where(photo()[..., 0] > 0, -21.0, -1.0)
    assert np.allclose(result.logits[0, 0].numpy(), base + 8 * disk(*EASY) + 4 * mask, atol=1e-5)
    assert (result.mask == disk(*EASY) | mask).all()
    erased = session.add([Paint([(60, 20)], width=5, positive=False)]).mask
    after = session.click(80, 8)
    before = 1 / (1 + np.exp(-session.steps[-2].result.logits_in(interactify.Window(0, 0, 64, 96)).numpy()))
    assert not erased[20, 60] and before[20, 60] < 1e-6, "what was erased is not in the mask before"
    expected = base + 8 * (disk(*EASY) | disk(80, 8)) + 4 * before
    assert np.allclose(after.logits[0, 0].numpy(), expected, atol=1e-4)


def test_the_mask_before_follows_the_window() -> None:
    """Zoomed in, the mask before is that of the window, on the network's grid there."""
    net = by_hand(previous=True, zoom=True, resolution=64)
    session = net.session(photo(128, 192))
    session.click(60, 40)
    result = session.click(64, 44)
    window = result.window
    assert window != session.refiner.photo_window
    before = session.steps[0].result.probability_in(window)
    expected = session.steps[1].crop.view.to_network(torch.from_numpy(before.copy())[None])
    maps = session.refiner.problem(session.steps[:1], session.interactions, None).suffix.maps
    assert maps.shape[1] == 3 and torch.allclose(maps[:, 2:], expected, atol=1e-5)
    assert float(expected.max()) > 0.9


# ---- other interactions ----------------------------------------------------------------------------------------------


def test_scribbles_and_boxes_are_drawn_as_clicks() -> None:
    session = by_hand().session(photo())
    scribbled = session.add([Scribble([(10, 10), (40, 10)])])
    drawn = session.steps[-1].result.constraints.points
    assert len(drawn) > 2
    expected = np.any([disk(x, y) for x, y in drawn.tolist()], axis=0)
    assert (scribbled.mask == expected).all() and scribbled.satisfied and scribbled.evaluations == 1
    boxed = by_hand().session(photo()).add([Box(20, 10, 50, 40)])
    assert boxed.satisfied and boxed.mask.any(), "the middle is tried where nothing was found inside"
    assert not boxed.mask[:, 52:].any()


def test_an_initial_mask_alone_is_no_click() -> None:
    mask = disk(*EASY, radius=10)
    session = by_hand().session(photo())
    result = session.add([Mask(mask)])
    assert (result.mask == mask).all()
    maps = session.refiner.problem((), session.interactions, None).suffix.maps
    assert not maps.any()


def test_clicks_on_other_classes_are_beside_the_object() -> None:
    model = interactify.reconfigure_stem(
        networks.seeded(lambda: networks.Plain(classes=3)), click_maps=ClickMaps(previous_mask=True)
    )
    model.kernels[0].data = networks.random_tensor(*model.kernels[0].shape) * 0.1
    net = interactify.wrap(model, mean=0.5, std=0.25, target=1, zoom=False)
    session = net.session(networks.random_photo())
    session.add([Click(20, 20), Click(60, 30, label=2), Click(40, 50, False, label=2)])
    maps = session.refiner.problem((), session.interactions, 1).suffix.maps
    own = interaction_maps([Click(20, 20), Click(60, 30, False)], (64, 96))
    assert torch.equal(maps[0, :2], own)
    classes = session.class_map()
    assert classes.shape == (64, 96) and classes[20, 20] == 1 and classes[30, 60] == 2
    labels = Labels(np.where(disk(30, 30), 1, 0).astype(np.int16))
    corrected = session.add([labels]).mask
    assert corrected.shape == (64, 96) and session.click(70, 10, label=2).satisfied in (True, False)


# ---- everything that sessions do -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unet() -> interactify.Interactive:
    """A small Unet of smp with random weights, whose kernels over the maps are random too."""

    def build() -> Any:
        own = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(32, 16, 8, 8, 4))
        networks.acquaint(own, 64)
        return own

    model = click_networks.reconfigured(networks.seeded(build), ClickMaps("disk", radius=5, previous_mask=True))
    return interactify.wrap(model, resolution=64, max_evaluations=4, mean=0.5, std=0.25)


PICTURE = networks.random_photo(90, 120)
CLICKS = [Click(30, 40), Click(90, 20, False), Click(60, 70)]


def test_undo_redo_files_and_logs(unet: interactify.Interactive, tmp_path: Path) -> None:
    session = unet.session(PICTURE)
    results = [session.add([click]) for click in CLICKS]
    assert any(result.evaluations > 1 for result in results)
    session.undo()
    assert torch.equal(session.redo().logits, results[-1].logits)
    path = session.save(tmp_path / "session.npz")
    loaded = interactify.load_session(path, unet, PICTURE)
    session.undo(), loaded.undo()
    for each in (session, loaded, pickle.loads(pickle.dumps(session))):
        assert torch.equal(each.click(10, 80).logits, session.result.logits)
    again = interactify.replay(session.log(), unet, PICTURE)
    assert (again.result.mask == session.result.mask).all()
    other = interactify.wrap(unet.unwrap(), **{**unet.options, "click_maps": ClickMaps("gaussian", previous_mask=True)})
    with pytest.raises(interactify.CheckpointError, match="click_maps"):
        interactify.load_session(path, other, PICTURE)


def test_batches_objects_predictor_tiles_and_evaluation(unet: interactify.Interactive) -> None:
    session = unet.session(PICTURE)
    own = session.add([CLICKS[0]])
    assert session.add_object() == "object 2"
    assert torch.equal(session.add([CLICKS[1]]).logits, unet.refine(PICTURE, [[CLICKS[1]]])[0].logits)
    assert session.label_map().shape == (90, 120)
    first, second, plain = unet.refine(PICTURE, [[CLICKS[0]], CLICKS[:2], []])
    assert torch.equal(first.logits, own.logits) and torch.equal(plain.logits, session.initial_step.result.logits)
    assert torch.equal(second.logits, unet.session(PICTURE).add(CLICKS[:2]).logits)

    predictor = interactify.Predictor(unet)
    predictor.set_image(PICTURE)
    masks, _, low = predictor.predict(np.array([[30, 40]]), np.array([1]), multimask_output=False)
    assert (masks[0] == own.mask).all()
    assert predictor.predict(np.array([[60, 70]]), np.array([1]), mask_input=low)[0].shape == (3, 90, 120)

    tiled = unet.session(np.tile(PICTURE, (3, 3, 1)), tile=90)
    result = tiled.click(200, 100)
    assert result.evaluations >= 1 and result.mask_in(interactify.Window(50, 150, 90, 90)).shape == (90, 90)

    truth = disk(60, 45, (90, 120), 30).astype(np.int8)
    record = evaluate(unet, [Sample("one", PICTURE, truth)], clicks=3, progress=False).records[0]
    assert len(record.curve) == len(record.clicks) + 1 and all(count >= 1 for count in record.evaluations)


def test_the_page_shows_what_the_library_gives(unet: interactify.Interactive, tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
    pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")
    from PIL import Image

    from tests.fixtures.served import Page, served

    path = tmp_path / "photo.png"
    Image.fromarray(PICTURE).save(path)
    with served(unet, [path], tmp_path / "out") as (client, _):
        page = Page(client).do("add", interactions=[{"kind": "click", "x": 30, "y": 40, "positive": True}])
        assert (page.mask == unet.session(PICTURE).add([CLICKS[0]]).mask).all()
        assert client.get("/api/project").json()["reads_clicks"], "before the first click the page asks for one"


def test_zoom_and_mirror_and_half_precision() -> None:
    model = click_networks.reconfigured()
    halved = click_networks.reconfigured(click_maps=ClickMaps(previous_mask=True)).to(torch.bfloat16)
    for options in ({"mirror": True}, {"precision": "bfloat16"}, {"variables": "scale_bias@A"}, {}):
        net = interactify.wrap(
            model if options else halved, mean=0.5, std=0.25, resolution=64, max_evaluations=3, **options
        )
        session = net.session(networks.random_photo(128, 192))
        session.click(60, 40)
        result = session.click(64, 44)
        assert result.evaluations >= 1 and result.mask.shape == (128, 192), options


def test_statuses_are_those_of_other_networks() -> None:
    session = by_hand().session(photo())
    assert session.result.status is Status.PLAIN
    session.click(*EASY)
    assert session.add([Paint([(5, 5)], width=3, positive=True)]).status is Status.PAINTED
