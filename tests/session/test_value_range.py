"""A range of values goes everywhere with the photo: sessions, files, logs, batches, the predictor, the command line."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import interactify
from interactify import Click
from interactify.cli import main
from interactify.errors import CheckpointError, InteractifyWarning, OptionError
from tests.fixtures import networks

EIGHT = networks.random_photo(40, 56)[..., 0]
TWELVE = np.rint(EIGHT / 255 * 4095).astype(np.uint16)  # the same picture in 12 of 16 bits
CLICKS = [Click(20, 30), Click(40, 10, False)]
RANGE = (0, 4095)


def wrap(**options: object) -> interactify.Interactive:
    return interactify.wrap(networks.seeded(networks.Plain), max_evaluations=4, mean=0.45, std=0.225, **options)


def after_clicks(session: interactify.Session) -> np.ndarray:
    return session.add(CLICKS).probability


def test_twelve_bits_give_the_mask_of_the_same_picture_in_eight():
    plain = after_clicks(wrap().session(EIGHT / 255))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_wrap = after_clicks(wrap(value_range=RANGE).session(TWELVE))
        of_session = after_clicks(wrap().session(TWELVE, value_range=RANGE))
    assert np.array_equal(of_wrap, of_session) and abs(of_wrap - plain).max() < 0.02
    with pytest.warns(InteractifyWarning, match=r"value_range=\(0, 4095\)") as caught:
        without = after_clicks(wrap().session(TWELVE))
    assert len(caught) == 1 and caught[0].filename == __file__  # once, at the line that opened it
    assert abs(without - plain).max() > 0.1


def test_the_sessions_range_goes_before_that_of_wrap():
    session = wrap(value_range=(0, 9)).session(TWELVE, value_range=RANGE)
    assert np.array_equal(after_clicks(session), after_clicks(wrap(value_range=RANGE).session(TWELVE)))
    picture = interactify.open_picture(TWELVE, value_range=RANGE)
    assert np.array_equal(after_clicks(wrap(value_range=(0, 9)).session(picture)), session.result.probability)
    with pytest.raises(OptionError, match="opened with value_range"):
        wrap(value_range=RANGE).session(interactify.open_picture(EIGHT))
    for make in (lambda: wrap(value_range=(5, 1)), lambda: wrap().session(EIGHT, value_range="12")):
        with pytest.raises(OptionError, match="value_range"):
            make()


def test_hounsfield_units_are_windowed():
    ct = (EIGHT.astype(np.int16) - 128) * 10
    windowed = np.clip((ct + 160) / 400, 0, 1)
    got = after_clicks(wrap(value_range=(-160, 240)).session(ct))
    assert abs(got - after_clicks(wrap().session(windowed))).max() < 1e-4


def test_it_is_described():
    assert "values      -160 is black, 240 white" in wrap(value_range=(-160, 240)).describe()
    assert "is black" not in wrap().describe()
    assert wrap(value_range=RANGE).to("cpu").value_range == RANGE


def test_a_batch_and_the_predictor_have_it_too():
    net = wrap(value_range=RANGE)
    session = net.session(TWELVE)
    expected = session.click(20, 30).mask
    for one in (net.refine(TWELVE, [CLICKS[:1]])[0], wrap().refine(TWELVE, [CLICKS[:1]], value_range=RANGE)[0]):
        assert np.array_equal(one.mask, expected)
    predictor, plain = interactify.Predictor(net), interactify.Predictor(net)
    predictor.set_image(TWELVE)
    plain.set_image(interactify.open_picture(TWELVE, value_range=RANGE))
    first, second = (each.predict(np.array([[20, 30]]), np.array([1]))[2] for each in (predictor, plain))
    assert np.array_equal(first, second)


def test_files_and_logs_carry_it(tmp_path: Path):
    session = wrap().session(TWELVE, value_range=RANGE)
    expected = after_clicks(session)
    path = session.save(tmp_path / "session.npz")
    for net in (wrap(), wrap(value_range=RANGE)):
        assert np.array_equal(interactify.load_session(path, net, TWELVE).result.probability, expected)
        assert np.array_equal(interactify.replay(session.log(), net, TWELVE).result.probability, expected)
    assert json.loads(session.log().splitlines()[0])["value_range"] == [0, 4095]
    plain = wrap().session(EIGHT)
    assert "value_range" not in plain.log()
    path = plain.save(tmp_path / "plain.npz")
    assert interactify.load_session(path, wrap(), EIGHT).size == plain.size
    with pytest.raises(CheckpointError, match=r"value_range: None, got \(0\.0, 4095\.0\)"):
        interactify.load_session(path, wrap(value_range=RANGE), EIGHT)


NETWORK = """
import torch
from torch import nn

def build():
    conv = nn.Conv2d(CHANNELS, 1, 1)
    with torch.no_grad():
        conv.weight.fill_(4 / CHANNELS)
        conv.bias.fill_(-2)
    return conv
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for channels in (1, 5):
        (tmp_path / f"bands{channels}.py").write_text(NETWORK.replace("CHANNELS", str(channels)))
    return tmp_path


def test_the_command_line_takes_it(here, capsys):
    photo = np.full((40, 64), 400, np.uint16)
    photo[:, 32:] = 3600
    Image.fromarray(photo).save("deep.png")
    words = ["segment", "deep.png", "--model", "bands1:build", "--mean", "0", "--std", "1"]
    assert main(words) == 0
    assert capsys.readouterr().err.startswith("interactify: warning: The photo has 16 bits")
    assert not np.asarray(Image.open("deep-mask.png")).any()
    assert main([*words, "--value-range", "0", "4095", "--log"]) == 0
    assert not capsys.readouterr().err
    assert np.array_equal(np.asarray(Image.open("deep-mask.png")), (photo > 2000) * 255)
    overlay = np.asarray(Image.open("deep-overlay.png"))
    assert overlay[20, 60].max() > 150  # as the network saw it, and not nearly black
    assert main(["replay", "deep-log.jsonl", "deep.png", *words[2:], "--out", "again"]) == 0
    assert np.array_equal(np.asarray(Image.open("again/deep-mask.png")), (photo > 2000) * 255)
    assert main([*words, "--value-range", "-200", "-300"]) == 2
    assert "Expected value_range as (low, high)" in capsys.readouterr().err


def test_the_command_line_reads_and_measures_five_bands(here, capsys):
    tifffile = pytest.importorskip("tifffile")
    for name in ("set/images", "set/masks"):
        (here / name).mkdir(parents=True)
    bands = np.full((40, 64, 5), 400, np.int16)
    bands[10:30, 20:40] = 3600
    tifffile.imwrite(here / "set/images/field.tif", bands, photometric="minisblack", planarconfig="contig")
    Image.fromarray((bands[..., 0] > 2000).astype(np.uint8) * 255).save(here / "set/masks/field.png")
    options = ["--model", "bands5:build", "--value-range", "0", "4095"]
    assert main(["segment", "set/images/field.tif", "--click", "30,20", *options]) == 0
    assert np.array_equal(np.asarray(Image.open("field-mask.png")) > 0, bands[..., 0] > 2000)
    words = ["evaluate", "--root", "set", "--report", "out", "--clicks", "1", "--workers", "1", *options]
    assert main(words) == 0
    record = json.loads((here / "out/report.json").read_text())["records"][0]
    assert record["curve"][0] == 1.0 and (here / "out/report.html").exists()


def test_the_page_shows_what_the_network_sees(tmp_path):
    import io

    from interactify.app.pictures import as_jpeg, thumbnail

    deep = tmp_path / "deep.png"
    Image.fromarray(TWELVE).save(deep)
    for jpeg in (as_jpeg(deep, value_range=RANGE), thumbnail(deep, 56, value_range=RANGE)):
        shown = np.asarray(Image.open(io.BytesIO(jpeg)))[..., 0].astype(int)
        assert abs(shown - EIGHT).mean() < 6
    assert np.asarray(Image.open(io.BytesIO(as_jpeg(tmp_path / "deep.png")))).max() < 30


def test_nothing_is_said_of_pictures_of_eight_bits_or_black_ones():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrap().session(EIGHT // 16)
        wrap().session(np.zeros((20, 24), np.uint16))
        wrap().session(torch.full((3, 20, 24), 40000, dtype=torch.uint16))


FOUR_CLASSES = """
import torch
from torch import nn

def build():
    conv = nn.Conv2d(5, 4, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(4, 5)[..., None, None] * 8)
        conv.bias.zero_()
    return conv
"""


def test_a_network_of_classes_and_bands_is_measured_from_maps_of_classes(here):
    tifffile = pytest.importorskip("tifffile")
    (here / "land.py").write_text(FOUR_CLASSES)
    for name in ("set/images", "set/masks"):
        (here / name).mkdir(parents=True)
    labels = np.zeros((40, 64), np.uint8)
    labels[:, 20:], labels[:, 40:], labels[30:] = 1, 3, 255
    bands = np.zeros((40, 64, 5), np.uint16)
    for value in (0, 1, 3):
        bands[..., value][labels == value] = 4000
    tifffile.imwrite(here / "set/images/field.tif", bands, photometric="minisblack", planarconfig="contig")
    Image.fromarray(labels).save(here / "set/masks/field.png")
    words = ["evaluate", "--dataset", "classes", "--root", "set", "--report", "out", "--clicks", "1", "--workers", "1"]
    assert main([*words, "--model", "land:build", "--value-range", "0", "4095", "--mean", "0", "--std", "1"]) == 0
    records = json.loads((here / "out/report.json").read_text())["records"]
    assert {record["name"]: record["curve"][0] for record in records} == {"field#1": 1.0, "field#3": 1.0}
