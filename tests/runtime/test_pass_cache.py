"""The cached pass: resumed where possible, with the same result to the last bit, and freed as soon as possible."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import interactify
from interactify.brs import Margin
from interactify.runtime import pass_cache
from interactify.runtime.pass_cache import PassCache
from tests.fixtures import networks
from tests.runtime.test_suffix import somewhere, suffix_of

CLICKS = ((20, 30, False), (50, 10, True), (10, 50, True), (70, 20, False))


def embedded(**options: Any) -> interactify.Interactive:
    """The embedded network on pictures as small as the photos."""
    return interactify.wrap(networks.slim_saliency(), resolution=96, **options)


def played(variables: str = "input") -> list[np.ndarray]:
    session = embedded(variables=variables).session(networks.random_photo())
    masks = [session.click(x=x, y=y, positive=p).probability for x, y, p in CLICKS]
    return [*masks, session.undo().probability, session.click(x=33, y=33).probability]


@pytest.mark.parametrize("variables", ["input", "maps", "scale_bias@A", "scale_bias@C"])
def test_a_session_is_the_same_to_the_last_bit(variables: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = played(variables)
    monkeypatch.setattr(pass_cache, "ROOM", 0)
    assert all(np.array_equal(a, b) for a, b in zip(found, played(variables), strict=True))


def operations_of_a_click() -> int:
    net = embedded(energy=Margin(hold=0))  # shorter ways, tried for what is held, would take the place of the last pass
    session = net.session(networks.random_photo())
    assert session.click(x=5, y=5).status == "done"
    with FlopCounterMode(display=False) as counter:
        result = session.click(x=40, y=30, positive=not session.result.mask[30, 40])
    assert result.evaluations >= 2
    return int(counter.get_total_flops())


def test_it_saves_one_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    saving = operations_of_a_click()
    monkeypatch.setattr(pass_cache, "ROOM", 0)
    whole = operations_of_a_click()
    suffix = suffix_of(embedded(), networks.random_photo())
    with FlopCounterMode(display=False) as counter:
        suffix(suffix.start, [])
    assert whole - saving == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_the_first_click_resumes_a_pass_from_the_opening() -> None:
    net = embedded()
    assert net.session(networks.random_photo()).refiner.passes
    reading = embedded(variables="kernels")
    assert not reading.session(networks.random_photo()).refiner.passes, "the tape depends on the clicks"


def test_a_pass_is_resumed_only_at_the_same_values_photo_and_weights() -> None:
    model = networks.slim_saliency()
    net = interactify.wrap(model, resolution=96)
    suffix, other = (suffix_of(net, networks.random_photo(seed=seed)) for seed in (1, 2))
    run, at = PassCache(), somewhere(suffix)
    first = run(suffix, at.clone().requires_grad_(True), ())
    for changed in ("values", "photo", "weights"):
        values = at + 0.01 if changed == "values" else at
        if changed == "weights":
            with torch.no_grad():
                next(model.parameters()).mul_(1.5)
        found = run(other if changed == "photo" else suffix, values.clone().requires_grad_(True), ())
        assert "Resumed" not in type(found.grad_fn).__name__ and not torch.equal(found, first), changed
        assert "Resumed" in type(run(run._kept.get().suffix, values.clone().requires_grad_(True), ()).grad_fn).__name__


def test_a_pass_is_freed_once_its_gradient_is_taken() -> None:
    suffix = suffix_of(embedded(), networks.random_photo())
    run = PassCache()
    for _ in range(2):  # the second time through a resumed pass
        run(suffix, suffix.start.clone().requires_grad_(True), ())
        values = suffix.start.clone().requires_grad_(True)
        logits = run(suffix, values, ())
        assert run
        torch.autograd.grad(logits.sum(), values)
        assert not run


def test_nothing_is_left_of_a_deleted_session() -> None:
    session = embedded().session(networks.random_photo())
    session.click(x=5, y=5)
    logits = weakref.ref(session.refiner.passes._kept.get().logits)
    gc.collect()
    gc.disable()
    try:
        session.refiner.passes = PassCache()
        assert logits() is None, "no cycle keeps the graph alive"
    finally:
        gc.enable()


def test_larger_passes_are_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    suffix = suffix_of(embedded(), networks.random_photo())
    for room, cached in ((suffix.bytes_made, True), (suffix.bytes_made - 1, False)):
        monkeypatch.setattr(pass_cache, "ROOM", room)
        session = embedded().session(networks.random_photo())
        assert bool(session.refiner.passes) == cached
        session.click(x=5, y=5)
        assert bool(session.refiner.passes) == cached
