"""A log holds all interactions, and replaying it gives the same masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import interactify
from interactify import Box, Click, Lasso, Mask, Paint, Scribble
from interactify.cli import main
from interactify.errors import InteractionError, OptionError
from tests.fixtures import networks

PHOTO = networks.random_photo(60, 90)


def net_of(**options: Any) -> interactify.Interactive:
    return interactify.wrap(networks.seeded(networks.Plain), **{"max_evaluations": 4, **options})


def all_kinds(net: interactify.Interactive) -> interactify.Session:
    """A session with every kind of interaction, with two objects."""
    session = net.session(PHOTO)
    mask = np.zeros((60, 90), bool)
    mask[10:30, 20:50] = True
    session.add([Mask(mask)])
    session.add([Click(30, 20), Scribble([(5, 5), (60, 8)], positive=False, width=5)])
    session.add_object("the other")
    session.add([Box(10, 10, 80, 50)])
    session.add([Lasso([(5, 5), (85, 8), (60, 55)])])
    session.add([Paint([(20, 20), (30, 22)], 7.0)])
    session.click(40, 30, positive=False)
    session.undo()
    return session


def test_the_lines_of_a_log() -> None:
    session = all_kinds(net_of())
    header, *lines = [json.loads(line) for line in session.log().splitlines()]
    assert header == {
        "interactify": 1,
        "width": 90,
        "height": 60,
        "objects": [{"name": "object 1", "target": None}, {"name": "the other", "target": None}],
        "active": 1,
    }
    assert [(line["object"], line["step"], line["kind"]) for line in lines] == [
        ("object 1", 0, "mask"),
        ("object 1", 1, "click"),
        ("object 1", 1, "scribble"),
        ("the other", 0, "box"),
        ("the other", 1, "lasso"),
        ("the other", 2, "paint"),
    ]
    assert lines[1] == {"object": "object 1", "step": 1, "kind": "click", "x": 30, "y": 20, "positive": True}


def test_a_log_makes_the_same_session_again(tmp_path: Path) -> None:
    net = net_of(resolution=64)
    session = all_kinds(net)
    path = tmp_path / "log.jsonl"
    path.write_text(session.log())
    for log in (session.log(), path, str(path)):
        again = interactify.replay(log, net, PHOTO)
        assert again.log() == session.log() and again.active == session.active and not again.can_undo
        for name in session.objects:
            assert again.interactions_of(name) == session.interactions_of(name)
            assert np.array_equal(again.result_of(name).mask, session.result_of(name).mask)
    assert np.array_equal(again.label_map(), session.label_map())
    assert np.array_equal(again.click(3, 50).mask, session.click(3, 50).mask), "and goes on alike"


def test_superseded_steps_are_superseded_in_a_replay() -> None:
    """A superseded click had one evaluation: it has no more when it is replayed."""
    net = net_of(max_evaluations=40)
    session = net.session(PHOTO)
    turns = session.control.turns  # as if another click waited during the first

    class Busy(type(turns)):  # type: ignore[misc]
        should_yield = True

    turns.__class__ = Busy
    wanted = not bool(session.result.mask[20, 30])
    first = session.click(30, 20, wanted)
    turns.__class__ = Busy.__mro__[1]
    second = session.click(60, 40)
    assert first.status == "superseded" and first.evaluations == 1 and second.status != "superseded"
    again = interactify.replay(session.log(), net, PHOTO)
    assert [step.result.status for step in again.steps] == ["superseded", second.status]
    assert np.array_equal(again.result.mask, second.mask)
    assert np.array_equal(again.steps[0].result.mask, first.mask)


GOOD = '{"interactify": 1, "width": 90, "height": 60, "objects": [{"name": "a", "target": null}]}\n'


@pytest.mark.parametrize(
    "log",
    [
        "", "{}", "[1]", "no json", None, 3, b"{}", GOOD + "[3]", GOOD + "{", GOOD + '{"object": "b", "kind": "click"}',
        GOOD + '{"object": "a", "kind": "click", "x": 3}', GOOD + '{"object": "a", "kind": "stare"}',
        GOOD + '{"object": "a", "kind": "click", "x": 900, "y": 3, "positive": true}', GOOD.replace("90", "91"),
        GOOD.replace('"a"', "7"), GOOD.replace('"a"', '""'), GOOD.replace("null", "77"), GOOD.replace("1,", "2,", 1),
        GOOD.replace('[{"name": "a", "target": null}]', '["a"]'), "a/file/that/is/not/there.jsonl",
    ],
    ids=str,
)  # fmt: skip
def test_invalid_logs(log: Any) -> None:
    with pytest.raises((InteractionError, OptionError)):
        interactify.replay(log, net_of(), PHOTO)


def test_a_log_by_hand() -> None:
    """Objects and steps may be left out: then there is one object, and every line is a step."""
    lines = '{"interactify": 1, "width": 90, "height": 60, "objects": []}\n{"x": 30, "y": 20, "positive": true}\n'
    net = net_of()
    again = interactify.replay(lines + '{"x": 3, "y": 4, "positive": false}\n', net, PHOTO)
    session = net.session(PHOTO)
    session.click(30, 20)
    assert np.array_equal(again.result.mask, session.click(3, 4, positive=False).mask)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "grey cat.png"
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(photo)
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(["segment", str(photo), "--click", "40,30", "--click", "-3,3", "--log", "--out", str(one)]) == 0
    assert main(["replay", str(one / "grey cat-log.jsonl"), str(photo), "--out", str(two)]) == 0
    printed = capsys.readouterr().out
    assert str(two / "grey cat-mask.png") in printed and str(two / "grey cat-overlay.png") in printed
    masks = [(folder / "grey cat-mask.png").read_bytes() for folder in (one, two)]
    assert masks[0] == masks[1]
    log = (one / "grey cat-log.jsonl").read_text()
    both = log.replace('"name": "object 1"', '"name": "a/b"}, {"name": "c"').replace('"object 1"', '"a/b"', 1)
    (tmp_path / "both.jsonl").write_text(both.replace('"object": "object 1"', '"object": "c"'))
    assert main(["replay", str(tmp_path / "both.jsonl"), str(photo), "--out", str(two), "--format", "rle"]) == 0
    assert {path.name for path in two.iterdir()} >= {
        "grey cat-a-b-rle.json",
        "grey cat-c-rle.json",
        "grey cat-labels.png",
    }
    assert main(["replay", str(tmp_path / "nowhere"), str(photo)]) == 2
    assert "Expected a log at" in capsys.readouterr().err
