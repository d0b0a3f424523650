"""Statuses: members of an enum that everything takes for their plain text."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch

import interactify
from interactify.optim import ROW_SOLVERS, Status
from tests.fixtures import networks


@pytest.mark.parametrize("status", Status)
def test_a_status_is_its_text(status: Status) -> None:
    text = status.value
    assert status == text and hash(status) == hash(text) and status in {text} and {text: 1}[status] == 1
    assert (str(status), f"{status}", f"{status:>12}", "%s" % status) == (text, text, f"{text:>12}", text)  # noqa: UP031
    assert repr(status) == repr(text) and json.dumps([status]) == json.dumps([text])
    assert pickle.loads(pickle.dumps(status)) is copy.deepcopy(status) is Status(text) is Status.of(text) is status


@pytest.mark.parametrize("solver", ROW_SOLVERS)
@pytest.mark.parametrize("text", ["time", "my own reason"])
def test_what_stop_returns(solver: str, text: str) -> None:
    """A known text becomes a member, another one passes through."""
    points, labels = torch.tensor([[2.0, 3.0]]), torch.tensor([True])
    found = interactify.brs.refine(
        lambda values: values.view(1, 1, 8, 8) * 1e-3 - 9,
        torch.zeros(64),
        points,
        labels,
        solver=solver,
        stop=lambda: text,
    )
    assert found.status == text and found.evaluations == 1
    assert isinstance(found.status, Status) == (text == "time") and type(found.status) in (str, Status)


def test_the_statuses_of_a_session(tmp_path) -> None:
    net, photo = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=6), networks.random_photo()
    session = net.session(photo)
    assert session.result.status is Status.PLAIN
    result = session.click(30, 20)
    assert isinstance(result.status, Status) and f", {result.status.value}, " in repr(result)
    assert session.add([interactify.Paint(((5, 5),), 3)]).status is Status.PAINTED
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net, photo)
    assert [step.result.status for step in loaded.steps] == [step.result.status for step in session.steps]
    assert all(isinstance(step.result.status, Status) for step in loaded.steps)
