"""The simulated users and the metrics against cases counted by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from interactify import Click, InteractionError, OptionError
from interactify.evaluation import (
    Evaluation,
    Jitter,
    Pairs,
    Record,
    Sample,
    Strokes,
    area_under_curve,
    boundary_iou,
    collateral_change,
    evaluate,
    failures,
    folder,
    iou,
    next_click,
    number_of_clicks,
    strokes,
)
from interactify.evaluation.simulated_user import error_around
from tests.fixtures import networks


def grid(*rows):
    return np.array([[{".": 0, "#": 1, "?": -1}[c] for c in row] for row in rows], np.int8)


def test_the_click_is_the_deepest_pixel_of_the_larger_error():
    truth = grid("........", ".###....", ".###....", ".###....", "........")
    mask = np.zeros(truth.shape, bool)
    click = next_click(truth, mask, np.zeros(truth.shape, bool))
    assert (click.x, click.y, click.positive) == (2, 2, True)


def test_the_pictures_border_counts_as_a_border():
    truth = grid("###..", "###..", "###..")
    click = next_click(truth, np.zeros(truth.shape, bool), np.zeros(truth.shape, bool))
    assert (click.x, click.y) == (1, 1)  # without the padding it would be (0, 0), the farthest from the right border


def test_a_false_positive_is_clicked_negatively_and_wins_ties():
    truth = grid("#...", "....")
    mask = np.array([[False, False, False, True], [False] * 4])
    click = next_click(truth, mask, np.zeros(truth.shape, bool))
    assert (click.x, click.y, click.positive) == (3, 0, False)


def test_unknown_pixels_are_never_clicked_and_no_pixel_twice():
    truth = grid("?#?")
    clicked = np.zeros(truth.shape, bool)
    mask = np.zeros(truth.shape, bool)
    assert next_click(truth, mask, clicked) is not None
    clicked[0, 1] = True
    assert next_click(truth, mask, clicked) is None


def test_a_perfect_mask_is_not_clicked():
    truth = grid("#.", "..")
    assert next_click(truth, truth == 1, np.zeros(truth.shape, bool)) is None


@pytest.mark.parametrize(
    ("truth", "mask", "expected"),
    [
        (grid("##.."), [[1, 0, 0, 0]], 1 / 2),
        (grid("##.?"), [[1, 1, 1, 1]], 2 / 3),
        (grid("...."), [[0, 0, 0, 0]], 1.0),
        (grid("##.."), [[0, 0, 0, 0]], 0.0),
    ],
)
def test_iou(truth, mask, expected):
    assert iou(truth, np.array(mask, bool)) == pytest.approx(expected)


def test_number_of_clicks_at_its_edges():
    at_the_last = [0.1] * 20 + [0.95]
    never = [0.1] * 21
    perfect_before = [1.0]
    stops_early = [0.3, 0.92]
    assert number_of_clicks([at_the_last], 0.9) == 20
    assert number_of_clicks([never], 0.9) == 20
    assert number_of_clicks([perfect_before], 0.9) == 1
    assert number_of_clicks([stops_early], 0.95) == 20
    assert number_of_clicks([at_the_last, stops_early], 0.9) == pytest.approx(10.5)


def test_failures_never_reach_the_threshold():
    solved_at_the_last, never, perfect_before = [0.1] * 20 + [0.9], [0.1] * 21, [1.0]
    assert failures([solved_at_the_last, never, perfect_before], 0.9) == 1
    assert failures([solved_at_the_last], 0.9, most=19) == 1


def test_area_under_a_curve():
    assert area_under_curve([1.0], 20) == 1.0
    assert area_under_curve([0.0, 1.0], 1) == 0.5
    assert area_under_curve([0.0, 0.5, 1.0], 4) == pytest.approx((0.25 + 0.75 + 1 + 1) / 4)
    assert area_under_curve([0.3, 0.9], 0) == 0.3


def test_boundary_iou_counted_by_hand():
    # A square of 6x6 and the same without its last column. Of a 50-pixel diagonal 2 % are one pixel: the borders are
    # rings of 20 and 18 pixels. They share the left column, and four pixels each of the upper and the lower row.
    truth = np.zeros((30, 40), np.int8)
    truth[10:16, 10:16] = 1
    mask = truth == 1
    mask[:, 15] = False
    shared = 6 + 2 * 4
    assert boundary_iou(truth, mask) == pytest.approx(shared / (20 + 18 - shared))
    assert boundary_iou(truth, truth == 1) == 1.0
    assert boundary_iou(truth, np.zeros(truth.shape, bool)) == 0.0
    assert boundary_iou(np.zeros((30, 40), np.int8), np.zeros((30, 40), bool)) == 1.0


def test_the_pictures_border_is_a_boundary():
    truth = grid("####", "####", "####", "####", "####")
    mask = np.ones(truth.shape, bool)
    mask[2, 1:3] = False  # the ring around the picture is all that is wider than a pixel of it
    assert boundary_iou(truth, mask) == pytest.approx(14 / 18)  # the holes' neighbours join the border: 18, not 14


def test_unknown_pixels_are_on_no_boundary():
    truth = grid("?????????", "?###??...", "?###??...", "?###??...", "?????????")
    for width in (4, 5):
        mask = np.zeros(truth.shape, bool)
        mask[1:4, 1:width] = True
        assert boundary_iou(truth, mask) == 1.0


def test_collateral_change_is_far_new_and_wrong():
    truth = np.zeros((30, 40), np.int8)  # the diagonal is 50: farther than 5 pixels is far
    truth[20:, :] = -1
    before, after = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    before[0, 30] = after[0, 30] = True  # wrong before
    after[0, 5] = True  # at a distance of 5: near
    after[0, 6] = True  # far
    after[25, 30] = True  # unknown
    before[10, 30] = True  # far and changed, but for the better
    assert collateral_change(truth, before, after, [Click(0, 0)]) == pytest.approx(1 / 800)
    assert collateral_change(truth, before, after, [Click(0, 0), Click(6, 2)]) == 0.0


def sample(truth, name="a"):
    return Sample(name, np.zeros((*truth.shape, 3), np.uint8), truth)


def test_jittered_clicks_stay_in_the_error_and_follow_their_seed():
    truth = np.zeros((60, 80), np.int8)
    truth[10:50, 5:35] = 1
    truth[10:50, 45:55] = 1
    truth[20:30, 10:20] = -1
    mask, clicked = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    centre = next_click(truth, mask, clicked)
    allowed = error_around(truth, mask, centre)
    pixels = set()
    for seed in range(200):
        ((click,),) = Jitter(spread=1.0, seed=seed).turn(sample(truth), mask, clicked, 20)
        assert allowed[click.y, click.x] and click.positive
        pixels.add((click.x, click.y))
    assert len(pixels) > 100
    once, again = (Jitter(seed=3).turn(sample(truth), mask, clicked, 20) for _ in range(2))
    assert once == again != Jitter(seed=3).turn(sample(truth, "b"), mask, clicked, 20)
    with pytest.raises(OptionError, match="spread"):
        Jitter(spread=0)


def test_a_jittered_click_repeats_no_pixel_and_falls_back_to_the_centre():
    truth = grid("..#..")
    mask, clicked = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    assert Jitter().turn(sample(truth), mask, clicked, 1) == ((Click(2, 0, True),),)
    clicked[0, 2] = True
    assert Jitter().turn(sample(truth), mask, clicked, 1) == ()


def test_a_pair_goes_to_two_errors():
    truth = grid("###......", "###...##.", "###...##.")
    mask, clicked = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    first, second = Pairs().turn(sample(truth), mask, clicked, 20)
    assert first == (Click(1, 1, True),) and second[0].x in (6, 7)
    assert Pairs().turn(sample(truth), mask, clicked, 1) == (first,)
    assert len(Pairs().turn(sample(grid("##..")), np.zeros((1, 4), bool), np.zeros((1, 4), bool), 20)) == 1
    assert Pairs().turn(sample(truth), truth == 1, clicked, 20) == ()


def test_strokes_become_clicks_along_them():
    labels = np.zeros((40, 120), np.uint8)
    labels[5:8, 10:101] = 1  # a straight one, three pixels wide
    labels[20, 0:30] = labels[20:39, 29] = 2  # a bent one
    labels[35, 100] = 1  # a dot
    straight, dot, bent = strokes(labels, spacing=30)
    assert [c.positive for c in (*straight, *dot, *bent)] == [True] * 5 + [False] * 2
    assert sorted(c.x for c in straight) == [10, 40, 70, 100] and dot == (Click(100, 35, True),)
    assert all(labels[c.y, c.x] == 1 for c in straight) and all(labels[c.y, c.x] == 2 for c in bent)
    assert strokes(np.zeros((3, 3), np.uint8)) == ()
    for labels, options in (
        (np.full((3, 3), 7, np.uint8), {}),
        (np.zeros((3, 3, 3), np.uint8), {}),
        (np.zeros((3, 3)), {}),
        (np.zeros((3, 3), np.uint8), {"spacing": 0}),
    ):
        with pytest.raises(OptionError, match="Expected"):
            strokes(labels, **options)


def test_a_user_who_draws_first_clicks_afterwards(tmp_path):
    truth = grid("....", ".##.", "....")
    labels = np.zeros((3, 4), np.uint8)
    labels[1, 1], labels[0, 3] = 1, 2
    Image.fromarray(labels).save(tmp_path / "a-anno.png")
    run = evaluate(Painter(truth), [sample(truth)], clicks=5, user=Strokes(tmp_path), progress=False)
    assert run.records[0].predictions == [2, 1]
    assert run.records[0].clicks == [[[1, 1, True]], [[3, 0, False]], [[2, 1, True]]]
    assert run.records[0].curve == [0.0, 0.0, 0.5, 1.0]
    with pytest.raises(OptionError, match=r"Expected strokes b\.png"):
        evaluate(Painter(truth), [sample(truth, "b")], user=Strokes(tmp_path), progress=False)


class Painter:
    """Stands in for a wrapped network: each click corrects its own column."""

    def __init__(self, truth):
        self.truth = truth

    def session(self, photo):
        return PainterSession(self.truth)


class PainterResult:
    def __init__(self, mask):
        self.mask, self.satisfied, self.evaluations, self.seconds = mask, True, 3, 0.5


class PainterSession:
    def __init__(self, truth):
        self.truth, self.result = truth, PainterResult(np.zeros(truth.shape, bool))

    def click(self, x, y, positive):
        mask = self.result.mask.copy()
        mask[:, x] = self.truth[:, x] == 1
        self.result = PainterResult(mask)
        return self.result

    def add(self, clicks):
        for click in clicks:
            self.click(click.x, click.y, click.positive)
        return self.result


def test_a_run_records_every_click(tmp_path):
    truth = grid("....", ".##.", "....")
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / "images/a.png")
    Image.fromarray(np.where(truth == 1, 255, 0).astype(np.uint8)).save(tmp_path / "masks/a.png")
    samples = list(folder(tmp_path))
    np.testing.assert_array_equal(samples[0].truth, truth)
    run = evaluate(Painter(truth), samples, clicks=5, progress=False)
    assert run.records[0].curve == [0.0, 0.5, 1.0]
    assert (run.noc(0.9), run.iou_after(1), run.iou_after(5)) == (2, 0.5, 1.0)
    assert (run.satisfied, run.evaluations_per_click, run.seconds_per_click) == (1.0, 3.0, 0.5)


def test_two_clicks_before_each_prediction():
    truth = grid("#.#.#")
    run = evaluate(Painter(truth), [sample(truth)], clicks=3, user="pairs", progress=False)
    (record,) = run.records
    assert record.curve == [0.0, 0.0, 2 / 3, 1.0] and record.boundary == record.curve
    assert record.predictions == [2, 1] and len(record.clicks) == 3
    assert (run.noc(0.6), run.noc(0.9), run.failures(0.9)) == (2, 3, 0)
    assert run.evaluations_per_click == pytest.approx((1.5 + 1.5 + 3) / 3)
    assert run.seconds_at(100) == 0.5 and run.evaluations_at(0) == 1.5


def test_a_perfect_photo_is_not_clicked_and_an_empty_prediction_counts_nothing():
    truth = grid("....", "....")
    run = evaluate(Painter(truth), [sample(truth)], progress=False)
    assert run.records[0].curve == [1.0] and run.noc(0.9) == 1 and run.failures(0.9) == 0
    assert (run.satisfied, run.evaluations_per_click, run.seconds_per_click, run.collateral) == (1.0, 0, 0, 0)
    assert evaluate(Painter(grid("#.")), [sample(grid("#."))], clicks=0, progress=False).records[0].curve == [0.0]


def test_figures_of_a_run():
    records = (
        Record("a", [0.5, 0.86], [True], [2], [0.1], [0.01], [0.4, 0.8], [1], [[[0, 0, True]]]),
        Record("b", [0.4] + [0.2] * 20, [False] * 20, [4] * 20, [0.3] * 20, [0.0] * 20, [0.1] * 21, [1] * 20),
    )
    run = Evaluation(records, 20)
    assert [run.noc(q) for q in (0.80, 0.85, 0.90)] == [10.5, 10.5, 20.0]
    assert [run.failures(q) for q in (0.80, 0.85, 0.90)] == [1, 1, 2]
    assert run.satisfied == pytest.approx(1 / 21) and run.collateral == pytest.approx(0.01 / 21)
    assert (run.seconds_at(50), run.evaluations_at(95)) == (0.3, 4)
    assert run.boundary_iou_after(1) == pytest.approx(0.45)
    summary = run.summary()
    assert summary["failures_90"] == 2 and summary["iou_after"]["20"] == 0.53
    assert Record.from_json(records[0].to_json()) == records[0]
    assert "NoC@85 10.50" in str(run)


def test_a_sample_may_name_its_class(photo):
    import interactify

    torch.manual_seed(0)
    net = interactify.wrap(torch.nn.Conv2d(3, 4, 3, padding=1), mean=0, std=1, target=0)
    chosen = net.session(photo, target=2).result.mask
    truth = np.zeros(photo.shape[:2], np.int8)
    for target, mask in ((2, chosen), (None, net.session(photo).result.mask)):
        run = evaluate(net, [Sample("a", photo, truth, target)], clicks=0, progress=False)
        assert run.records[0].boundary == [boundary_iou(truth, mask)]
        run = evaluate(net, [Sample("a", photo, mask.astype(np.int8), target)], progress=False)
        assert run.records[0].curve == [1.0]


def test_the_user_may_be_content_before_everything_is_right():
    truth = grid("....", ".###", "....")
    curves = {}
    for until in (None, 0.3, 0.6, 1):
        run = evaluate(Painter(truth), [sample(truth)], clicks=5, until=until, progress=False)
        curves[until] = run.records[0].curve
        assert len(run.records[0].clicks) == len(run.records[0].curve) - 1
    whole = [0, 1 / 3, 2 / 3, 1]
    assert curves == {None: whole, 0.3: whole[:2], 0.6: whole[:3], 1: whole}


def test_noc_is_that_of_a_whole_run_where_the_first_click_makes_a_good_mask_worse():
    class Worsened(Painter):
        """Its mask is nearly right, the first click empties it, and then each corrects its own column."""

        def session(self, photo):
            session = PainterSession(self.truth)
            session.result = PainterResult((self.truth == 1) & (np.arange(4) > 1))
            repaired = session.click

            def click(x, y, positive):
                session.click, session.result = repaired, PainterResult(np.zeros(self.truth.shape, bool))
                return session.result

            session.click = click
            return session

    truth = grid("....", ".###", "....")
    runs = [evaluate(Worsened(truth), [sample(truth)], until=until, progress=False) for until in (None, 0.6)]
    assert runs[0].records[0].curve[:2] == runs[1].records[0].curve[:2] == [2 / 3, 0]
    assert runs[0].noc(0.6) == runs[1].noc(0.6) == 3


def test_what_evaluate_refuses():
    truth = grid("#.")
    for options, message in (
        ({"user": "nobody"}, "centre, jitter, pairs"),
        ({"user": 3}, "int"),
        ({"clicks": -1}, "from 0 up"),
        ({"clicks": 2.5}, "from 0 up"),
        ({"until": 0}, "until, got 0"),
        ({"until": 90}, "until, got 90"),
        ({"until": "0.9"}, "until, got '0.9'"),
    ):
        with pytest.raises(OptionError, match=message):
            evaluate(Painter(truth), [sample(truth)], progress=False, **options)
    with pytest.raises(OptionError, match="2 wide and 1 high"):
        evaluate(Painter(grid("#..")), [sample(truth)], progress=False)


def test_several_clicks_before_one_prediction(photo, tmp_path):
    import interactify

    net = interactify.wrap(networks.slim_saliency())
    session = net.session(photo)
    clicks = [Click(55, 30), Click(3, 3, False), Click(90, 60, False)]
    result = session.add(clicks)
    assert result.satisfied and session.interactions == tuple(clicks) and len(session.steps) == 1
    assert session.add([]) is result
    assert np.array_equal(net.refine(photo, [clicks])[0].mask, result.mask)
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net, photo)
    assert len(loaded.steps) == 1 and np.array_equal(loaded.result.mask, result.mask)
    for refused in ([Click(55, 30), Click(1000, 0)], Click(1, 1), [(1, 1)], "ab"):
        with pytest.raises(InteractionError):
            session.add(refused)
    assert session.result is result
    assert session.undo() is session.initial_step.result


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(OptionError, match="found none"):
        list(folder(tmp_path))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images/a.png")
    with pytest.raises(OptionError, match="has no mask"):
        list(folder(tmp_path))
