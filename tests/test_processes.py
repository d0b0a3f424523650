"""Wrapped networks, sessions and predictors go into other processes, files and copies."""

import copy
import io
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import interactify
from interactify.errors import ModelError
from tests.fixtures import forms, networks

PHOTO = networks.random_photo(32, 48)
OPTIONS = {"variables": "scale_bias@deep", "max_evaluations": 12, "resolution": 48, "class_names": ["thing"]}


def wrapped() -> interactify.Interactive:
    return interactify.wrap(networks.seeded(networks.Plain), **OPTIONS)  # type: ignore[arg-type]


def through_torch(thing: Any) -> Any:
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def through_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


COPIES = {"pickle": through_pickle, "torch.save": through_torch, "deepcopy": copy.deepcopy}


def click(net: interactify.Interactive) -> np.ndarray:
    """What a worker of a pool runs."""
    return net.session(PHOTO).click(10, 10).probability


@pytest.mark.parametrize("way", COPIES)
def test_a_wrapped_network_is_copied_with_its_options(way: str) -> None:
    net = wrapped()
    net.session(PHOTO).click(3, 4)  # caches are filled, locks were used
    again = COPIES[way](net)
    assert type(again) is interactify.Interactive and again.options == net.options
    assert again.unwrap() is not net.unwrap() and again.spec.class_names == ("thing",)
    assert np.array_equal(click(again), click(net))
    with torch.no_grad():
        again.unwrap().head.bias.add_(1)
    assert not np.array_equal(click(again), click(net)), "the copy has weights of its own"


def dynamic() -> nn.Module:
    sides = {k: 16 * torch.export.Dim(name, min=1, max=20) for k, name in ((2, "h"), (3, "w"))}
    program = torch.export.export(forms.small(), (torch.rand(1, 3, 64, 96),), dynamic_shapes={"x": sides})
    return program.module()


FORMS: dict[str, Callable[[], nn.Module]] = {
    "exported": lambda: forms.exported(64, 96).module(),
    "exported, dynamic": dynamic,
    "exported, two outputs": lambda: forms.exported(64, 96, networks.seeded(Two)).module(),
    "scripted": forms.scripted,
    "traced": forms.traced,
}


class Two(networks.Plain):
    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        out = super().forward(x)
        return {"out": out, "more": [out * 2, out.mean()]}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", COPIES)
def test_networks_of_other_tools(way: str, form: str) -> None:
    photo = networks.random_photo(64, 96)
    net = interactify.wrap(FORMS[form](), mean=0.0, std=1.0, max_evaluations=4, zoom=False)
    session = net.session(photo)
    session.click(30, 20)
    again = COPIES[way](session)
    assert again.net.unwrap() is not net.unwrap() and again.net.spec == net.spec
    own, other = (each.describe().splitlines() for each in (net, again.net))
    assert own[1:] == other[1:] and (own[0] == other[0] or form == "traced")  # whose class torch renames
    assert np.array_equal(again.result.probability, session.result.probability)
    assert np.array_equal(again.click(60, 40, False).probability, session.click(60, 40, False).probability)
    image = torch.rand(1, 3, 64, 96)
    for found, expected in zip(*(tree_leaves(each.net.unwrap()(image)) for each in (again, session)), strict=True):
        assert torch.equal(found, expected)
    twice = COPIES[way](again.net)
    assert twice.spec == net.spec and np.array_equal(click(twice), click(net))


def test_what_no_pickle_holds_says_so() -> None:
    mixed = nn.Sequential(forms.scripted(), nn.Conv2d(1, 1, 1))
    with pytest.raises(ModelError, match=r"TorchScript inside \(0\).* script all of it.*session\.save"):
        pickle.dumps(interactify.wrap(mixed, mean=0.0, std=1.0))


def test_a_pool_of_new_processes() -> None:
    """`spawn`, as on Windows and macOS: everything that is handed over is pickled."""
    net = wrapped()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        (found,) = pool.map(click, [net], timeout=120)
    assert np.array_equal(found, click(net))


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("tile", [None, 24])
def test_a_session_goes_on_in_a_copy(way: str, tile: int | None) -> None:
    session = wrapped().session(PHOTO, tile=tile)
    session.click(10, 10)
    session.add_object("second")
    session.click(40, 20, positive=False)
    session.undo()
    again = COPIES[way](session)
    assert again.objects == session.objects and again.active == "second" and again.can_redo
    assert np.array_equal(again.result.probability, session.result.probability)
    assert np.array_equal(again.redo().probability, session.redo().probability)
    assert np.array_equal(again.click(5, 25).probability, session.click(5, 25).probability)
    assert np.array_equal(again.switch("object 1").mask, session.switch("object 1").mask)


def test_a_deep_copy_of_a_session_shares_nothing() -> None:
    session = wrapped().session(PHOTO)
    session.click(10, 10)
    again = copy.deepcopy(session)
    assert again.net.unwrap() is not session.net.unwrap()
    again.click(40, 20)
    assert len(session.interactions) == 1 and len(again.interactions) == 2


def test_a_shallow_copy_keeps_the_state_of_now() -> None:
    session = wrapped().session(PHOTO)
    mask = session.click(10, 10).mask
    kept = copy.copy(session)
    session.click(40, 20, positive=False)
    assert kept.refiner is session.refiner and np.array_equal(kept.result.mask, mask) and len(kept.interactions) == 1


@pytest.mark.parametrize("way", COPIES)
def test_a_predictor_is_copied_with_its_photo(way: str) -> None:
    predictor = interactify.Predictor(wrapped(), mask_threshold=0.25)
    predictor.set_image(PHOTO)
    again = COPIES[way](predictor)
    arguments = np.array([[20, 10]]), np.array([1])
    assert again.mask_threshold == 0.25
    assert all(map(np.array_equal, again.predict(*arguments), predictor.predict(*arguments)))


@pytest.mark.parametrize("made", ["wrapped", "built", "both"])
def test_inference_mode_around_wrap_or_around_the_model(made: str) -> None:
    expected = click(interactify.wrap(networks.seeded(networks.Plain)))
    with torch.inference_mode(made != "wrapped"):
        model = networks.seeded(networks.Plain)
    with torch.inference_mode(made != "built"):
        net = interactify.wrap(model)
    assert np.array_equal(click(net), expected)
    with torch.inference_mode():
        assert np.array_equal(click(net), expected)
        model.head.bias.add_(1)
        assert not np.array_equal(click(net), expected), "a change in inference mode is followed too"
