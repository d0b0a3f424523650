"""`interactify teach`: figures in a few lines, new weights beside the old ones, and how to use them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from interactify import cli
from interactify.commands.teach import destination
from interactify.models.build import build_model
from tests.fixtures.red_photos import network, write_pairs

BUILDER = "from tests.fixtures.red_photos import network\n\ndef build():\n    return network()\n"
QUICK = ["--steps", "60", "--batch", "2", "--learning-rate", "0.1", "--clicks", "1", "--mean", "0.5", "--std", "0.5"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network_for_teach.py").write_text(BUILDER)
    yield write_pairs(tmp_path / "pairs", 5)
    sys.modules.pop("network_for_teach", None)


def test_it_learns_and_says_how_to_go_on(folder, capsys):
    assert cli.main(["teach", "pairs", "--model", "network_for_teach:build", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("learned from") and "->" in lines[1] and "->" in lines[2]
    assert lines[3] == "weights: pairs/taught/taught.safetensors"
    assert lines[4] == "curves:  pairs/taught/curves.svg" and Path("pairs/taught/curves.svg").is_file()
    model = "network_for_teach:build@pairs/taught/taught.safetensors"
    assert lines[5] == f"next:    interactify app PHOTOS --model {model}"
    stored = load_file("pairs/taught/taught.safetensors")
    assert all(torch.equal(value, stored[key]) for key, value in build_model(model).state_dict().items())
    assert json.loads(Path("pairs/taught/lesson.json").read_text())["after"]["iou"] > 0.9


def test_it_says_where_nothing_was_gained(folder, capsys):
    words = [*QUICK, "--learning-rate", "1e-9"]
    assert cli.main(["teach", "pairs", "--out", "out", "--model", "network_for_teach:build", *words]) == 0
    out = capsys.readouterr().out
    assert "keep the old weights" in out and "next:" not in out
    assert Path("out/taught.safetensors").is_file()


def test_errors_in_one_line(folder, capsys):
    for words in (["absent"], ["pairs", "--parts", "stem"], ["pairs", "--steps", "0"], ["pairs", "--held-back", "2"]):
        assert cli.main(["teach", *words, "--model", "network_for_teach:build", "--mean", "0.5", "--std", "0.5"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("interactify: error: Expected") and error.count("\n") == 1, words


@pytest.mark.parametrize(
    ("model", "checkpoint", "then"),
    [
        ("unet/resnet18,classes=3@w.pth", "w-taught.pt", "unet/resnet18,classes=3@w-taught.pt"),
        ("timm/resnet18@nets/w.safetensors", "nets/w-taught.safetensors", None),
        ("timm/resnet18,pretrained=True", "pairs/taught/taught.safetensors", None),
        ("unet/resnet18@saved", "saved-taught.safetensors", "unet/resnet18@saved-taught.safetensors"),
        ("@saved", "saved-taught/model.safetensors", "@saved-taught"),
        ("transformers/saved", "saved-taught/model.safetensors", "transformers/saved-taught"),
        ("transformers/someone/name", "pairs/taught/taught.safetensors", ""),
        ("zoo@w-taught9.pt", "w-taught10.pt", "zoo@w-taught10.pt"),
    ],
)
def test_new_weights_lie_beside_the_old_ones(folder, model, checkpoint, then):
    Path("saved").mkdir()
    found = destination(model, Path("pairs"), None)
    assert found.checkpoint.as_posix() == checkpoint
    assert found.model == (f"{model.partition('@')[0]}@{checkpoint}" if then is None else then)
    assert destination(model, Path("pairs"), Path("out")).checkpoint.parts[0] == "out"


def test_a_saved_folder_is_taught_as_a_folder(folder, capsys):
    smp = pytest.importorskip("segmentation_models_pytorch")
    smp.Unet("resnet18", encoder_weights=None, decoder_channels=(16, 8, 8, 8, 4)).save_pretrained("saved")
    words = ["--steps", "1", "--batch", "1", "--clicks", "0", "--resolution", "64"]
    assert cli.main(["teach", "pairs", "--model", "@saved", *words]) == 0
    capsys.readouterr()
    stored = load_file("saved-taught/model.safetensors")
    assert all(torch.equal(value, stored[key]) for key, value in build_model("@saved-taught").state_dict().items())


def test_other_weights_for_networks_that_are_named_without(folder, tmp_path):
    state = {key: value + 1 for key, value in network().state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    built = build_model("network_for_teach:build@w.safetensors")
    assert all(torch.equal(value, state[key]) for key, value in built.state_dict().items())
    assert not built.training
    zoo = build_model("zoo")
    torch.save({key: value * 0 for key, value in zoo.state_dict().items()}, tmp_path / "zoo.pt")
    assert not any(value.any() for value in build_model("zoo@zoo.pt").state_dict().values())
