"""The demo: clicks are played in order, tables line up, sheets show the results."""

from __future__ import annotations

import contextlib
import io
import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import interactify
from interactify import cli
from interactify.commands import click_report
from interactify.interactions.click import Click

CLICKS = (Click(10, 20), Click(50, 10, False), Click(50, 30))


@pytest.fixture
def session():
    """A small photo under a network that answers to brightness."""
    conv = nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        conv.weight.fill_(4 / 3)
        conv.bias.zero_()
    photo = np.full((40, 64, 3), 30, np.uint8)
    photo[:, 32:] = 225
    return interactify.wrap(conv).session(photo)


def test_clicks_are_played_in_order(session):
    played = list(click_report.play(session, CLICKS))
    assert [click for click, _ in played] == list(CLICKS)
    assert [(c.x, c.y, c.positive) for c in session.interactions] == [(c.x, c.y, c.positive) for c in CLICKS]
    assert played[-1][1] is session.result


def test_rows_have_the_results_and_line_up(session):
    masks = [session.result.mask]
    lines = click_report.header().splitlines()
    for click, result in click_report.play(session, CLICKS):
        masks.append(result.mask)
        line = click_report.row(click, result)
        fields = line.split(")")[1].split()
        assert fields[0] == ("yes" if result.satisfied else "no")
        assert int(fields[1].replace(",", "")) == (masks[-1] != masks[-2]).sum()
        assert int(fields[2]) == result.evaluations
        lines.append(line)
    assert len({len(line) for line in lines}) == 1


def test_a_sheet_has_a_panel_for_the_photo_the_prediction_and_each_click(session, monkeypatch):
    sheets = []
    original = click_report.draw.contact_sheet
    monkeypatch.setattr(
        click_report.draw, "contact_sheet", lambda panels, **given: sheets.append(panels) or original(panels, **given)
    )
    before, photo = session.result, session.photo
    results = [result for _, result in click_report.play(session, CLICKS)]
    sheet = click_report.story(photo, before, CLICKS, results, title="Half")
    assert sheet.ndim == 3 and sheet.dtype == np.uint8
    (panels,) = sheets
    assert len(panels) == 2 + len(CLICKS)
    assert [caption.split(":")[0] for caption, _ in panels[2:]] == ["Click 1", "Click 2", "Click 3"]
    drawn = panels[2][1]
    factor = drawn.shape[0] // photo.shape[0]
    assert drawn.shape == (photo.shape[0] * factor, photo.shape[1] * factor, 3) and factor > 1
    middle = tuple(int((v + 0.5) * factor) for v in (CLICKS[0].y, CLICKS[0].x))
    assert (drawn[middle] == 255).all()  # the sign of the click, at the click
    assert not np.array_equal(panels[1][1], panels[0][1])


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The whole demo, once, as a user types it."""
    folder = tmp_path_factory.mktemp("demo") / "pictures"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = cli.main(["demo", "--out", str(folder)])
    return status, folder, printed.getvalue()


def test_the_demo_writes_a_sheet_for_each_photo_and_network_and_prints_where(played):
    status, folder, printed = played
    assert status == 0
    photos = [photo.name for photo in interactify.zoo.photos()]
    names = [photo + end for end in ("", "-trained-for-clicks") for photo in photos]
    assert sorted(os.listdir(folder)) == sorted(f"{name}.png" for name in names)
    for line, name in zip(printed.splitlines()[-len(names) :], names, strict=True):
        assert line.strip() == str((folder / f"{name}.png").resolve())
        with Image.open(line.strip()) as sheet:
            assert sheet.width > 1000


def test_the_demo_describes_the_networks_and_prints_every_click(played):
    _, _, printed = played
    assert printed.count("\n  stem") == 2 and "never shown a click" in printed and "trained for clicks" in printed
    clicks = [c for name in ("saliency", "clicks") for photo in interactify.zoo.photos() for c in photo.clicks_of[name]]
    rows = [line for line in printed.splitlines() if line.startswith(("  + (", "  - ("))]
    assert [line.split(")")[0].strip() + ")" for line in rows] == [click_report.name(click) for click in clicks]
    assert all(line.split(")")[1].split()[0] == "yes" for line in rows), printed
