"""The baselines follow the same clicks as the library: satisfied, repeatable, and right in easy cases."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import interactify
from benchmarks import accuracy, baselines
from benchmarks.baselines import GrabCut, NetworkAlone, RandomWalker, discs, laplacian_of
from interactify import Click, InteractionError, OptionError
from interactify.evaluation import Sample, evaluate, folder, iou
from tests.fixtures import networks


@pytest.fixture(scope="module")
def net() -> interactify.Interactive:
    return interactify.wrap(networks.slim_saliency())


@pytest.fixture(params=["GrabCut", "GrabCut from the network", "random walker", "random walker from the network"])
def classical(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip("cv2" if "GrabCut" in request.param else "skimage", reason="install interactify[baselines]")
    return accuracy.ROWS[request.param](networks.slim_saliency())


@pytest.fixture
def truth() -> NDArray[np.int8]:
    """(120, 160) int8: a disc and a bar across it that reaches the right border."""
    rows, columns = np.mgrid[:120, :160]
    inside = ((rows - 60) ** 2 + (columns - 70) ** 2 < 35**2) | ((abs(rows - 60) < 12) & (columns > 70))
    return inside.astype(np.int8)


@pytest.fixture
def picture(truth: NDArray[np.int8]) -> NDArray[np.uint8]:
    """(120, 160, 3) uint8 in two colours, a little grained."""
    colours = np.array([[50, 80, 160], [210, 150, 40]])[truth]
    grain = np.random.default_rng(0).integers(-8, 9, colours.shape)
    return (colours + grain).astype(np.uint8)


INSIDE, OUTSIDE = Click(70, 60), Click(12, 100, False)


def test_two_colours_are_told_apart(classical: Any, picture: NDArray, truth: NDArray) -> None:
    run = evaluate(classical, [Sample("two colours", picture, truth)], clicks=6, progress=False)
    assert run.iou_after(6) > 0.95
    assert run.satisfied == 1.0
    assert run.evaluations_per_click == 0
    assert run.seconds_per_click > 0


@pytest.mark.parametrize("order", [(INSIDE, OUTSIDE), (OUTSIDE, INSIDE)], ids=["object first", "background first"])
def test_either_kind_may_come_first(
    classical: Any, picture: NDArray, truth: NDArray, order: tuple[Click, Click]
) -> None:
    session = classical.session(picture)
    before = iou(truth, session.result.mask)
    for click in order:
        answer = session.click(click.x, click.y, click.positive)
        assert answer.satisfied
        assert answer.mask[click.y, click.x] == click.positive
    # From the clicks alone the walker takes the bar's end, at the border, for background at first. Started from the
    # network's prediction, the mask depends on that: two clicks have to improve it.
    assert iou(truth, answer.mask) > (0.8 if classical.net is None else before)


def test_it_starts_empty_or_from_the_networks_prediction(
    classical: Any, net: interactify.Interactive, picture: NDArray
) -> None:
    first = classical.session(picture).result.mask
    expected = np.zeros(picture.shape[:2], bool) if classical.net is None else net.session(picture).result.mask
    np.testing.assert_array_equal(first, expected)


def test_negative_clicks_alone_leave_an_empty_mask_empty(classical: Any, picture: NDArray) -> None:
    if classical.net is not None:
        pytest.skip("starts from a mask")
    answer = classical.session(picture).click(12, 100, positive=False)
    assert answer.satisfied and not answer.mask.any()


def test_clicks_in_the_corners_and_next_to_each_other_are_satisfied(classical: Any, picture: NDArray) -> None:
    session = classical.session(picture)
    clicks = [
        Click(0, 0),
        Click(159, 119, False),
        Click(0, 119),
        Click(159, 0, False),
        Click(70, 60),
        Click(71, 60, False),
    ]
    for click in clicks:
        answer = session.click(click.x, click.y, click.positive)
        assert answer.satisfied
    assert [bool(answer.mask[c.y, c.x]) for c in clicks] == [c.positive for c in clicks]
    assert answer.mask.shape == picture.shape[:2] and answer.mask.dtype == bool


def test_of_two_clicks_on_one_pixel_the_later_is_in_effect(classical: Any, picture: NDArray) -> None:
    session = classical.session(picture)
    session.click(70, 60)
    answer = session.click(70, 60, positive=False)
    assert answer.satisfied and not answer.mask[60, 70]


@pytest.mark.parametrize("network", [False, True], ids=["alone", "with a prior"])
def test_clicks_are_satisfied_although_the_photo_is_reduced(
    net: interactify.Interactive, picture: NDArray, network: bool
) -> None:
    if not network:
        pytest.importorskip("skimage", reason="install interactify[baselines]")
    walker = RandomWalker(net if network else None, side=40)  # the walker sees four pixels by four as one
    session = walker.session(picture)
    for k in range(6):
        assert session.click(60 + k, 60, positive=k % 2 == 0).satisfied


def test_the_same_clicks_give_the_same_mask_whatever_ran_before(classical: Any, photo: NDArray) -> None:
    def masks() -> list[NDArray]:
        session = classical.session(photo)
        return [session.click(x, y, p).mask for x, y, p in ((55, 30, True), (90, 60, False), (40, 30, True))]

    once = masks()
    if "cv2" in sys.modules:
        sys.modules["cv2"].setRNGSeed(77)
    np.testing.assert_array_equal(once, masks())


def test_a_click_outside_changes_nothing(classical: Any, picture: NDArray) -> None:
    session = classical.session(picture)
    with pytest.raises(InteractionError, match="outside the photo"):
        session.add([INSIDE, Click(160, 0)])
    assert session.clicks == ()


@pytest.mark.parametrize("colour", [0, 90])
def test_a_picture_of_one_colour_is_no_error(classical: Any, colour: int) -> None:
    session = classical.session(np.full((30, 40, 3), colour, np.uint8))
    assert session.add([Click(20, 15), Click(3, 3, False)]).satisfied
    assert classical.session(np.full((1, 1, 3), colour, np.uint8)).click(0, 0).satisfied


def test_the_network_alone_stays_as_it_is(net: interactify.Interactive, picture: NDArray, truth: NDArray) -> None:
    run = evaluate(NetworkAlone(net), [Sample("two colours", picture, truth)], clicks=3, progress=False)
    (record,) = run.records
    assert record.curve == [record.curve[0]] * 4
    assert record.satisfied == [False] * 3  # each click is where the mask is wrong, and it stays so
    mask = net.session(picture).result.mask
    y, x = np.argwhere(mask)[0]
    assert NetworkAlone(net).session(picture).click(int(x), int(y)).satisfied


def test_a_disc_ends_where_another_click_is_nearer() -> None:
    seeds = discs([Click(2, 2), Click(6, 2, False)], (5, 12), 3)
    assert seeds[2].tolist() == [1, 1, 1, 1, 0, -1, -1, -1, -1, -1, 0, 0]  # column 4 is as far from both
    assert not discs([], (5, 12), 3).any()
    assert discs([Click(0, 0)], (4, 4), 2).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_without_a_prior_the_system_is_that_of_scikit_image(picture: NDArray) -> None:
    walk = pytest.importorskip("skimage.segmentation").random_walker
    small = picture[::4, ::4] / 255.0
    seeds = np.zeros(small.shape[:2], np.int8)
    seeds[15, 17], seeds[25, 3] = 1, -1
    expected = walk(small, np.where(seeds < 0, 2, seeds), beta=90, mode="bf", return_full_prob=True, channel_axis=-1)[0]
    walker = RandomWalker(interactify.wrap(torch.nn.Conv2d(3, 1, 1)), prior=0.0)
    got = walker._with_prior(laplacian_of(small, 90), np.full(seeds.shape, 0.3), seeds)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_strong_prior_is_the_networks_prediction_except_at_clicks(picture: NDArray) -> None:
    small = picture[::4, ::4] / 255.0
    predicted = np.random.default_rng(0).random(small.shape[:2])
    seeds = np.zeros(small.shape[:2], np.int8)
    seeds[3, 3] = 1
    walker = RandomWalker(interactify.wrap(torch.nn.Conv2d(3, 1, 1)), prior=1e6)
    got = walker._with_prior(laplacian_of(small, 90), predicted, seeds)
    predicted[3, 3] = 1
    np.testing.assert_allclose(got, predicted, atol=1e-4)


@pytest.mark.parametrize(("module", "make"), [("cv2", GrabCut), ("skimage.segmentation", RandomWalker)])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: str, make: Callable[[], Any]) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OptionError, match=r"\[baselines\]"):
        make()


def test_a_run_writes_each_row_and_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any, picture: NDArray, truth: NDArray
) -> None:
    from PIL import Image

    for name, image in (("images", picture), ("masks", truth.astype(np.uint8) * 255)):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "set" / name / "one.png")
    assert len(list(folder(tmp_path / "set"))) == 1
    out = tmp_path / "out.json"
    command = ["accuracy", "--data", str(tmp_path), "--dataset", "set", "--clicks", "2", "--out", str(out), "--rows"]
    monkeypatch.setattr(sys, "argv", [*command, "no BRS", "default"])
    accuracy.main()
    rows = json.loads(out.read_text())["set, every 1, 2 clicks"]
    assert list(rows) == ["no BRS", "default"]
    assert rows["no BRS"]["summary"]["iou_after"]["0"] == rows["default"]["summary"]["iou_after"]["0"]
    assert len(rows["no BRS"]["records"][0]["curve"]) == 3
    last = capsys.readouterr().out.splitlines()[-4:]
    assert [line.split("|")[1].strip(" -") for line in last] == ["row", "", "no BRS", "default"]
    monkeypatch.setattr(sys, "argv", [*command, "nobody"])
    with pytest.raises(SystemExit):
        accuracy.main()
    assert "no row 'nobody'" in capsys.readouterr().err


def test_rows_without_their_extra_end_the_run_at_its_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(baselines, "required", lambda *_: (_ for _ in ()).throw(OptionError("install the extra")))
    monkeypatch.setattr(accuracy, "folder", lambda _: [])
    monkeypatch.setattr(sys, "argv", ["accuracy", "--data", str(tmp_path), "--rows", "no BRS", "GrabCut"])
    with pytest.raises(SystemExit, match="install the extra"):
        accuracy.main()
