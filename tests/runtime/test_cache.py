"""What sessions keep between clicks stays within one limit, and comes back with the same result to the last bit."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import interactify
from interactify.errors import OptionError
from interactify.runtime.cache import DEFAULT_LIMIT, Kept, in_use
from interactify.session.session import Session
from tests.fixtures import networks

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """What was there before is not looked at in each collection: it may be millions of objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def own_limit(frozen: None) -> Iterator[None]:
    gc.collect()
    interactify.set_cache_limit(0)  # nothing of other tests is kept
    interactify.set_cache_limit(DEFAULT_LIMIT)
    yield
    interactify.set_cache_limit(DEFAULT_LIMIT)


def kept_of(size: int, value: str = "value") -> Kept[str]:
    kept = Kept[str]()
    kept.put(value, size, CPU)
    return kept


def test_what_was_used_longest_ago_goes_first() -> None:
    before = interactify.cached_bytes()
    interactify.set_cache_limit(before + 100)
    first, second = kept_of(40), kept_of(40)
    assert first.get() == "value" and interactify.cached_bytes() == before + 80
    third = kept_of(40)
    assert (bool(first), bool(second), bool(third)) == (True, False, True), "the second was not used since"
    assert second.get_or(lambda: "again", lambda _: (10, CPU)) == "again"
    interactify.set_cache_limit(before + 50)
    assert (bool(first), bool(second), bool(third)) == (False, True, True)
    interactify.set_cache_limit(0)
    assert not (second or third) and interactify.cached_bytes() == 0


def test_what_is_in_use_stays_until_it_is_not() -> None:
    interactify.set_cache_limit(0)
    with in_use():
        with in_use():
            kept = kept_of(40)
        assert kept.get() == "value", "the outer block still uses it"
        assert not kept_of_other_thread(), "others find no room"
    assert not kept


def kept_of_other_thread() -> bool:
    found: list[Kept[str]] = []
    thread = threading.Thread(target=lambda: found.append(kept_of(1)))
    thread.start()
    thread.join()
    return bool(found[0])


def test_bytes_of_what_is_gone_do_not_count() -> None:
    before = interactify.cached_bytes()
    kept = kept_of(1000)
    assert interactify.cached_bytes() == before + 1000
    del kept
    assert interactify.cached_bytes() == before


def test_each_device_has_its_limit() -> None:
    interactify.set_cache_limit(70, "cuda:1")
    interactify.set_cache_limit(50, "cuda")
    limits = [interactify.cache_limit(device) for device in ("cuda:0", "cuda:1", torch.device("cpu"))]
    assert limits == [50, 70, DEFAULT_LIMIT]
    kept = [Kept[str]() for _ in range(3)]
    for index, each in enumerate(kept):
        each.put("value", 60, torch.device("cuda", index % 2))
    assert [bool(each) for each in kept] == [False, True, False]
    assert interactify.cached_bytes("cuda") == interactify.cached_bytes("cuda:1") == 60


@pytest.mark.parametrize("limit", [-1, 1.5, True, None, "1 GB"])
def test_invalid_limits(limit: object) -> None:
    with pytest.raises(OptionError, match="in bytes"):
        interactify.set_cache_limit(limit)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="device"):
        interactify.cached_bytes("the big one")


# ---- sessions --------------------------------------------------------------------------------------------------------

CLICKS = ((20, 30, False), (50, 10, True), (10, 50, True), (12, 48, False))


def played(session: Session, forgets: bool) -> list[NDArray[np.float32]]:
    """What a session shows; with `forgets` everything is dropped after each click."""
    shown = [session.result.probability]
    for x, y, positive in CLICKS:
        shown.append(session.click(x, y, positive).probability)
        if forgets:
            interactify.set_cache_limit(0)
            assert interactify.cached_bytes() == 0
            interactify.set_cache_limit(DEFAULT_LIMIT)
    shown += [session.undo().probability, session.click(33, 33).probability, session.remove(0).probability]
    return [*shown, session.add([interactify.Box(5, 5, 30, 40)]).probability]


@pytest.mark.parametrize("variables", ["input", "maps", "kernels", "scale_bias@down", "bias_field@down"])
@pytest.mark.parametrize("options", [{}, {"propagation": "none"}], ids=str)
def test_a_session_is_the_same_to_the_last_bit(variables: str, options: dict[str, str]) -> None:
    net = interactify.wrap(networks.seeded(networks.Plain), variables=variables, max_evaluations=3, **options)
    photo = networks.random_photo(60, 64)
    expected = played(net.session(photo), forgets=False)
    assert all(map(np.array_equal, played(net.session(photo), forgets=True), expected))
    interactify.set_cache_limit(0)  # nothing is kept from click to click
    assert all(map(np.array_equal, played(net.session(photo), forgets=False), expected))


class Switching(torch.nn.Module):
    """Its branch depends on the values, so a tape recorded elsewhere would be another one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep = self.conv(x)
        return self.head(torch.tanh(deep) if bool(deep.mean() > 0) else torch.sin(deep) * 1.1)


def test_a_network_with_branches_is_the_same_too() -> None:
    net = interactify.wrap(networks.seeded(Switching), variables="scale_bias@conv", max_evaluations=4)
    photo = networks.random_photo(60, 64)
    expected = played(net.session(photo), forgets=False)
    assert all(map(np.array_equal, played(net.session(photo), forgets=True), expected))


def test_many_sessions_stay_within_the_limit() -> None:
    net = interactify.wrap(networks.seeded(networks.Plain), variables="scale_bias@down", max_evaluations=3)
    one = net.session(networks.random_photo(60, 64))
    one.click(5, 5)
    room = 3 * interactify.cached_bytes()
    assert room > 0
    del one
    interactify.set_cache_limit(room)
    sessions = []
    for seed in range(12):
        sessions.append(net.session(networks.random_photo(60, 64, seed=seed)))
        sessions[-1].click(5, 5)
        assert interactify.cached_bytes() <= room
    assert sum(bool(session.refiner.passes) for session in sessions) < 6
    assert sessions[-1].refiner.passes and not sessions[0].refiner.passes
    again = net.session(networks.random_photo(60, 64, seed=0))
    again.click(5, 5)
    assert np.array_equal(sessions[0].click(40, 40).probability, again.click(40, 40).probability)
    del sessions, again
    gc.collect()
    assert interactify.cached_bytes() == 0, "nothing is kept of sessions that are gone"


def test_sessions_in_threads_with_too_little_room() -> None:
    net = interactify.wrap(networks.seeded(networks.Plain), variables="scale_bias@down", max_evaluations=4)
    photos = [networks.random_photo(60, 64, seed=seed) for seed in range(4)]
    expected = [played(net.session(photo), forgets=False) for photo in photos]
    interactify.set_cache_limit(1)
    found: dict[int, list[NDArray[np.float32]]] = {}
    threads = [
        threading.Thread(target=lambda k=k: found.update({k: played(net.session(photos[k]), forgets=False)}))  # type: ignore[misc]
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        assert all(map(np.array_equal, found[k], expected[k]))


def test_the_same_box_again_opens_no_new_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=4)
    predictor = interactify.Predictor(net)
    predictor.set_image(networks.random_photo(120, 160))
    box = np.array([20, 20, 70, 60])
    first, *_ = predictor.predict(box=box)
    opened: list[object] = []
    monkeypatch.setattr(type(net.network), "normalised", lambda self, image: opened.append(image))
    again, *_ = predictor.predict(box=box)
    assert np.array_equal(again, first) and not opened
