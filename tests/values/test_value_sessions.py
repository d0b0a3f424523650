"""Sessions of networks of values: the network's own map before, goals reached after, history, files, hostile calls."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

import interactify
from interactify.errors import (
    CheckpointError,
    ClosedSessionError,
    InteractionError,
    ModelChangedError,
    ModelError,
    OptionError,
)
from interactify.optim.status import Status
from interactify.values import Alignment, HigherValue, SameValue, ValueClick, ValueScribble, value_interaction_from_json
from interactify.values.goals import ORDER, ValueEnergy, aligned, combined
from tests.fixtures.value_networks import Depth, Matte

PHOTO = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def networks():
    torch.manual_seed(0)
    unet = smp.Unet("resnet18", encoder_weights=None, encoder_depth=3, decoder_channels=(16, 8, 8), classes=1)
    return [Matte().eval(), Depth().eval(), unet.eval()]


def wrapped(model=None, **options):
    torch.manual_seed(0)
    return interactify.wrap_values(model or Matte().eval(), mean=0.5, std=0.25, **options)


@pytest.mark.parametrize("model", networks(), ids=["matte", "depth", "unet"])
def test_the_map_is_the_networks_own_before_any_interaction(model):
    session = wrapped(model).session(PHOTO)
    image = (torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
    image = nn.functional.pad(image, (0, 0, 0, 16), mode="replicate")  # to a multiple of 32
    with torch.no_grad():
        own = model(image)
    own = own["alpha"] if isinstance(own, dict) else own if own.ndim == 4 else own[:, None]
    if own.shape[-1] != 64:
        own = nn.functional.interpolate(own, size=(64, 64), mode="bilinear", align_corners=False)
    np.testing.assert_array_equal(session.result.values, own[0, 0, :48].numpy())
    assert session.result.status == Status.PLAIN and session.result.satisfied


@pytest.mark.parametrize("variables", ["input", "scale_bias@A", "bias_field@C"])
@pytest.mark.parametrize("model", networks(), ids=["matte", "depth", "unet"])
def test_clicked_pixels_get_their_values(model, variables):
    torch.manual_seed(0)
    points = None if isinstance(model, smp.Unet) else {"A": "body.0", "C": "body.0"}
    if points and "@" in variables:
        variables = f"{variables.split('@')[0]}@body.0"
    net = wrapped(model, variables=variables)
    session = net.session(PHOTO)
    own = session.result.values
    least, most = float(own.min()), float(own.max())
    goal = 0.6 * least + 0.4 * most
    result = session.click(40, 30, goal)
    assert result.satisfied and abs(result.at(40, 30) - goal) <= result.tolerance
    assert result.values[30, 40] == pytest.approx(result.at(40, 30), abs=1e-6)
    assert result.tolerance == pytest.approx((most - least) / 50, rel=0.2)  # padding may reach farther
    result = session.add([HigherValue(10, 10, 50, 20), SameValue(30, 8, 35, 40)])
    if result.satisfied:
        assert result.at(10, 10) > result.at(50, 20) and abs(result.at(30, 8) - result.at(35, 40)) <= result.tolerance
    assert result.satisfied or variables.startswith("scale_bias")  # few numbers may not be enough


@pytest.mark.parametrize("variables", ["input", "scale_bias@body.0", "bias_field@body.0", "bias_field@body.2"])
@pytest.mark.parametrize("kind", [Matte, Depth])
def test_partial_evaluation_gives_what_the_whole_network_gives(kind, variables):
    torch.manual_seed(0)
    model = kind().eval()
    session = wrapped(model, variables=variables).session(PHOTO)
    refiner = session.refiner
    values = (0.1 * torch.randn_like(refiner.numbers(refiner.first).variables)).requires_grad_(True)
    partial = refiner._map(values)
    (through_part,) = torch.autograd.grad(partial.square().sum(), values)

    def moved(module, args, out):  # what the variables mean, written out
        if variables.startswith("scale_bias"):
            scale, shift = values.flatten().view(2, 1, -1, 1, 1)
            return (1 + scale) * out + shift
        return out + values.view(out.shape)

    image = refiner.suffix.image + (values if variables == "input" else 0)
    handle = None if variables == "input" else model.get_submodule(variables.split("@")[1]).register_forward_hook(moved)
    raw = model(image)
    if handle is not None:
        handle.remove()
    whole = raw["alpha"] if isinstance(raw, dict) else raw[:, None]
    whole = nn.functional.interpolate(whole, partial.shape[2:], mode="bilinear", align_corners=False)
    (through_whole,) = torch.autograd.grad(whole.square().sum(), values)
    torch.testing.assert_close(partial, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(through_part, through_whole, rtol=1e-4, atol=1e-5)


def test_sessions_in_two_threads_do_not_meet():
    net = wrapped()
    clicks = [(10, 10, 0.9), (50, 30, 0.2)]

    def play(click):
        session = net.session(PHOTO)
        session.click(*click)
        return session.click(30, 20, 0.6).values

    alone = [play(click) for click in clicks]
    with ThreadPoolExecutor(2) as pool:
        for one, together in zip(alone, pool.map(play, clicks), strict=True):
            np.testing.assert_array_equal(one, together)


def test_a_map_that_is_right_stays_as_it_is_without_a_pass():
    session = wrapped().session(PHOTO)
    before = session.result
    result = session.click(20, 20, before.at(20, 20))
    assert result.evaluations == 0 and result.status == Status.DONE and not result.changed.any()
    np.testing.assert_array_equal(result.values, before.values)


def test_changed_is_what_moved_by_more_than_the_tolerance():
    session = wrapped().session(PHOTO)
    before = session.result.values
    result = session.click(20, 20, 0.9)
    np.testing.assert_array_equal(result.changed, np.abs(result.values - before) > result.tolerance)
    assert result.changed[20, 20]


def test_what_cannot_be_reached_is_named():
    session = wrapped().session(PHOTO)
    result = session.add([ValueClick(5, 5, session.result.at(5, 5)), ValueClick(20, 20, 3.0)])  # a sigmoid ends at 1
    assert not result.satisfied and result.unsatisfied == (ValueClick(20, 20, 3.0),)


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    goals = combined([ValueClick(1, 1, 0.3), SameValue(0, 0, 2, 2), HigherValue(0, 0, 1, 1)], (4, 4))
    energy = ValueEnergy.of(goals, 0.1, Alignment(2.0, 0.5))
    values = torch.rand(len(goals.points), 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: energy.corrective(v, torch.empty(0)), (values,))


def test_the_energy_is_the_squared_error_in_tolerances():
    goals = combined([ValueClick(1, 1, 0.3), HigherValue(0, 0, 1, 1)], (4, 4))
    assert goals.points.tolist() == [[1, 1], [0, 0]]
    energy = ValueEnergy.of(goals, 0.1, Alignment())
    read = torch.tensor([[0.5], [0.55]], dtype=torch.float64)  # 2 tolerances too high; half a tolerance apart
    assert float(energy.corrective(read, torch.empty(0))) == pytest.approx(2.0**2 + (ORDER - 0.5) ** 2)


@pytest.mark.parametrize("kind", ["shift", "scale", "scale_shift"])
def test_alignment_is_a_least_squares_fit(kind):
    rng = np.random.default_rng(1)
    plain = rng.uniform(1, 3, 6)
    given = 2.5 * plain + 0.7 + rng.normal(0, 0.05, 6)
    goals = combined([ValueClick(x, 0, value) for x, value in enumerate(given)], (1, 6))
    found = aligned(kind, goals, plain)
    columns = {"shift": [np.ones(6)], "scale": [plain], "scale_shift": [plain, np.ones(6)]}[kind]
    target = given - plain if kind == "shift" else given
    best = np.linalg.lstsq(np.stack(columns, 1), target, rcond=None)[0]
    expected = {"shift": (1.0, best[0]), "scale": (best[0], 0.0), "scale_shift": tuple(best)}[kind]
    assert (found.scale, found.shift) == pytest.approx(expected)


def test_one_value_tells_a_shift_and_no_scale():
    goals = combined([ValueClick(0, 0, 7.0)], (1, 1))
    assert aligned("scale_shift", goals, np.array([3.0])) == Alignment(1.0, 4.0)
    falling = combined([ValueClick(0, 0, 7.0), ValueClick(1, 0, 3.0)], (1, 2))
    assert aligned("scale_shift", falling, np.array([1.0, 2.0])).scale == 1.0  # it would turn the map over


def test_values_in_the_users_units_where_the_network_leaves_its_scale_open():
    torch.manual_seed(0)
    session = wrapped(Depth().eval(), alignment="scale_shift").session(PHOTO)
    own = session.result.values
    high, low = (np.unravel_index(at, own.shape) for at in (own.argmax(), own.argmin()))
    metres = {"high": 80.0, "low": 2.0}
    result = session.add([ValueClick(high[1], high[0], metres["high"]), ValueClick(low[1], low[0], metres["low"])])
    assert result.evaluations == 0  # a scale and a shift are all that it takes
    assert result.satisfied and result.values.max() == pytest.approx(80, abs=0.01)
    result = session.click(30, 20, 40.0)
    assert result.satisfied and result.at(30, 20) == pytest.approx(40.0, abs=result.tolerance)


def test_undo_redo_remove_and_reset_are_exact():
    session = wrapped().session(PHOTO)
    first = session.click(10, 10, 0.8).values
    second = session.click(50, 30, 0.2).values
    third = session.add([ValueScribble([(5, 40), (30, 40)], 0.5)]).values
    np.testing.assert_array_equal(session.undo().values, second)
    np.testing.assert_array_equal(session.undo().values, first)
    np.testing.assert_array_equal(session.redo().values, second)
    np.testing.assert_array_equal(session.redo().values, third)
    assert not session.can_redo
    without = session.remove(1)
    other = wrapped().session(PHOTO)
    other.click(10, 10, 0.8)
    np.testing.assert_array_equal(
        without.values, other.add([ValueScribble([(5, 40), (30, 40)], 0.5)]).values
    )  # as if it had never been made
    assert len(session.undo().interactions) == 3
    assert session.reset().status == Status.PLAIN and len(session.undo().interactions) == 3


def test_dropped_numbers_are_computed_again_to_the_last_bit():
    session = wrapped().session(PHOTO)
    values = [session.click(x, 20, value).values for x, value in ((10, 0.8), (30, 0.3), (50, 0.6))]
    for _ in range(3):
        step = session.history.now
        while step.before is not None:
            step.kept.take()
            step = step.before
        np.testing.assert_array_equal(session.result.values, values.pop())
        session.undo()


def test_a_saved_session_goes_on_exactly(tmp_path):
    net = wrapped()
    session = net.session(PHOTO)
    session.click(10, 10, 0.8), session.higher(40, 40, 12, 30), session.same(20, 5, 60, 40)
    session.undo()
    path = session.save(tmp_path / "session.npz")
    loaded = net.load_session(path, PHOTO)
    assert loaded.interactions == session.interactions
    np.testing.assert_array_equal(loaded.result.values, session.result.values)
    np.testing.assert_array_equal(loaded.redo().values, session.redo().values)
    np.testing.assert_array_equal(loaded.click(50, 12, 0.4).values, session.click(50, 12, 0.4).values)
    for _ in range(4):
        np.testing.assert_array_equal(loaded.undo().values, session.undo().values)


def test_a_file_for_anything_else_is_refused(tmp_path):
    net = wrapped()
    path = net.session(PHOTO).save(tmp_path / "session.npz")
    with pytest.raises(CheckpointError, match="photo"):
        net.load_session(path, PHOTO[::-1].copy())
    with pytest.raises(CheckpointError, match=r"tolerance: None, got 0\.5"):
        wrapped(tolerance=0.5).load_session(path, PHOTO)
    with pytest.raises(CheckpointError, match="weights"):
        wrapped(Depth().eval()).load_session(path, PHOTO)
    (tmp_path / "broken.npz").write_bytes(path.read_bytes()[:-80])
    for other in (tmp_path / "none.npz", tmp_path, tmp_path / "broken.npz"):
        with pytest.raises(CheckpointError):
            net.load_session(other, PHOTO)


def test_a_cancelled_refinement_keeps_its_best_result(tmp_path):
    net = wrapped()
    session = net.session(PHOTO)
    forward, ran = session.refiner.passes, []

    def cancelling(*arguments):
        ran.append(session.cancel())
        return forward(*arguments)

    session.refiner.passes = cancelling
    result = session.click(10, 10, 0.999)
    assert result.status == Status.CANCELLED and len(ran) == result.evaluations
    loaded = net.load_session(session.save(tmp_path / "session.npz"), PHOTO)
    np.testing.assert_array_equal(loaded.result.values, result.values)


@pytest.mark.parametrize(
    "interaction",
    [
        ValueClick(64, 0, 1.0),
        ValueClick(0, 0, float("nan")),
        ValueClick(0, 0, "1"),
        ValueClick(0, 0, True),
        ValueClick(0, 0, 1e31),
        ValueClick(None, 0, 1.0),
        SameValue(3, 3, 3.2, 3),
        HigherValue(3, 3, 3, 99),
        ValueScribble([], 1.0),
        ValueScribble([(1, 1)], 1.0, width=0),
        ValueScribble([(1, 1)], float("inf")),
        interactify.Click(3, 3),
        (3, 3, 1.0),
        None,
    ],
    ids=repr,
)
def test_bad_interactions_are_refused_before_any_work(interaction):
    session = _open()
    before = session.history
    with pytest.raises(InteractionError):
        session.add([ValueClick(5, 5, 0.9), interaction])
    assert session.history is before


_opened = []


def _open():
    if not _opened:
        _opened.append(wrapped().session(PHOTO))
    return _opened[0]


@pytest.mark.parametrize("index", [0, -1, True, 1.0, "0", None])
def test_there_is_nothing_to_remove(index):
    with pytest.raises(InteractionError):
        _open().remove(index)


@pytest.mark.parametrize(
    "interaction",
    [
        ValueClick(3, 4, 0.5),
        SameValue(1, 2, 3, 4),
        HigherValue(1, 2, 3, 4),
        ValueScribble([(1, 2), (8, 9)], -2.0, 3.0, 0.5),
    ],
    ids=lambda each: type(each).__name__,
)
def test_json_is_read_back(interaction):
    within = interaction.within((48, 64))
    assert value_interaction_from_json(within.to_json()).within((48, 64)) == within
    for entry in ({**within.to_json(), "more": 1}, {"kind": within.to_json()["kind"]}, {}, None, {"kind": "click"}):
        with pytest.raises(InteractionError):
            value_interaction_from_json(entry)


def test_later_interactions_overrule_earlier_ones():
    session = _open()
    session.add([ValueClick(3, 4, 0.2)])
    result = session.add([ValueClick(3, 4, 0.8)])
    assert result.satisfied and result.goals.overruled == (0,) and result.at(3, 4) == pytest.approx(0.8, abs=0.05)
    session.reset()


def test_networks_and_options_that_do_not_fit_are_refused():
    with pytest.raises(ModelError, match="one map of numbers, got 2 maps"):
        wrapped(nn.Conv2d(3, 2, 1))
    with pytest.raises(ModelError, match="volumes"):
        wrapped(nn.Conv3d(1, 1, 3, padding=1))
    with pytest.raises(ModelError, match="click network"):
        interactify.wrap_values(interactify.zoo.load("clicks"))
    with pytest.raises(OptionError, match="do not read clicks"):
        wrapped(variables="kernels")
    for options in ({"tolerance": 0}, {"tolerance": "1"}, {"tolerance": True}, {"alignment": "affine"}):
        with pytest.raises(OptionError):
            wrapped(**options)
    with pytest.raises(OptionError):
        wrapped(max_evaluations=0)


def test_a_session_notices_that_its_model_was_changed_and_the_next_one_follows():
    torch.manual_seed(0)
    model = Matte().eval()
    net = wrapped(model)
    session = net.session(PHOTO)
    with torch.no_grad():
        model.body[0].weight.mul_(0.5)
    with pytest.raises(ModelChangedError):
        session.click(5, 5, 0.5)
    assert not np.array_equal(net.session(PHOTO).result.values, session.result.values)


def test_the_model_is_not_changed():
    torch.manual_seed(0)
    model = Matte().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    net = wrapped(model)
    net.session(PHOTO).click(5, 5, 0.9)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert net.unwrap() is model and net.to("cpu").net is net.net


def test_a_closed_session_says_so_and_its_results_stay():
    with wrapped().session(PHOTO) as session:
        result = session.click(5, 5, 0.9)
    assert session.closed and result.values.shape == (48, 64)
    with pytest.raises(ClosedSessionError):
        session.click(5, 5, 0.5)
    assert repr(session) == "ValueSession(closed)"


def test_describe_speaks_of_numbers():
    text = wrapped(tolerance=0.02, alignment="shift").describe()
    assert "numbers" in text and "tolerance   0.02" in text and "alignment   shift" in text
    assert "logit" not in text and "classes" not in text
