"""`interactify train`: writes a click network that the other commands read, and goes on where it was interrupted."""

import numpy as np
import pytest
from PIL import Image

from interactify.cli import main
from interactify.models import build_model


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for k in range(3):
        mask = np.zeros((64, 64), np.uint8)
        mask[10 + k : 40, 12:44] = 1
        Image.fromarray(np.where(mask[..., None] > 0, np.uint8([200, 40, 30]), np.uint8([40, 60, 90]))).save(
            folder / f"images/{k}.png"
        )
        Image.fromarray(mask).save(folder / f"masks/{k}.png")
    return folder


def test_it_writes_a_network_that_segment_reads(photos, tmp_path, capsys):
    out = tmp_path / "out"
    command = [
        "train",
        str(photos),
        "--out",
        str(out),
        "--steps",
        "2",
        "--batch",
        "2",
        "--side",
        "64",
        "--parts",
        "stem",
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "before" in printed
    assert f"clicks@{out}" in printed
    assert build_model(f"clicks@{out}").click_maps.previous_mask
    assert main(command) == 0  # it is over: nothing is trained again
    assert "2 steps" in capsys.readouterr().out
    photo = photos / "images/0.png"
    assert main(["segment", str(photo), "--click", "20,20", "--model", f"clicks@{out}", "--out", str(tmp_path)]) == 0
    assert np.asarray(Image.open(tmp_path / "0-mask.png"))[20, 20] == 255


def test_wrong_arguments_end_with_one_line(photos, tmp_path, capsys):
    assert main(["train", str(photos), "--out", str(tmp_path), "--model", f"clicks@{tmp_path}"]) == 2
    assert "one that has them" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--steps", "2"]) == 2
    assert "images/ and masks/" in capsys.readouterr().err
    assert main(["segment", str(photos / "images/0.png"), "--model", f"clicks@{tmp_path}", "--out", str(tmp_path)]) == 2
    assert "clicks.json" in capsys.readouterr().err
