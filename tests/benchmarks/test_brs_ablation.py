"""The ablation of the BRS paper, on photos of red blocks: what it trains, what it measures, and that it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks import brs_ablation
from benchmarks.brs_ablation import ROWS, Settings, spread, train_stages, wrap_options
from interactify import ClickMaps, zoo
from interactify.checkpoints import read_weights
from interactify.errors import OptionError
from interactify.learning import ClickTask, Recipe, photos_in
from tests.fixtures import red_photos


class Small(nn.Module):
    """Stands for the paper's network, whose 120 layers take seconds for a click."""

    def __init__(self, fine: bool, pretrained: bool, growth: int) -> None:
        super().__init__()
        self.fine = fine
        self.click_maps = ClickMaps("distance")
        self.encoder = nn.Conv2d(5, growth, 3, padding=1)
        self.coarse = nn.Conv2d(growth, 1, 1)
        self.fine_decoder = nn.Conv2d(6, 1, 3, padding=1)
        self.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}

    def forward(self, x: Tensor) -> Tensor:
        coarse: Tensor = self.coarse(torch.relu(self.encoder(x)))
        if not self.fine:
            return coarse
        fine: Tensor = self.fine_decoder(torch.cat([x, torch.sigmoid(coarse)], 1))
        return fine


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    data = tmp_path / "data"
    red_photos.write_pairs(data / "GrabCut50", 2)
    red_photos.write_pairs(data / "photos", 4)
    sizes = ["--steps", "4", "--batch", "2", "--side", "64", "--growth", "2", "--clicks", "2", "--device", "cpu"]
    places = ["--data", str(data), "--train", str(data / "photos"), "--out", str(tmp_path / "out")]
    return [*places, *sizes, "--result", str(tmp_path / "results" / "ablation.json")]


def test_four_rows_are_measured_and_nothing_is_repeated(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(zoo, "brs_densenet", Small)
    measured = brs_ablation.click_through
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 6:  # in the third row
            raise KeyboardInterrupt
        return measured(*arguments)

    monkeypatch.setattr(brs_ablation, "click_through", interrupted)
    with pytest.raises(KeyboardInterrupt):
        brs_ablation.main(command)
    assert not list((tmp_path / "results").iterdir())

    def repeated(*arguments):
        raise AssertionError("a finished stage was trained again")

    monkeypatch.setattr(ClickTask, "loss", repeated)
    brs_ablation.main(command)
    assert len(calls) == 6 + 3  # eight in all: five of them were kept, one was interrupted

    found = json.loads((tmp_path / "results/ablation.json").read_text())
    assert [found["training"][stage]["steps"] for stage in ("coarse", "fine")] == [2, 2]
    assert found["settings"]["growth"] == 2
    assert found["machine"]["threads"] == torch.get_num_threads()
    assert list(found["rows"]) == list(ROWS)
    for name, row in found["rows"].items():
        evaluations = [each for record in row["records"] for each in record["evaluations"]]
        assert len(row["records"]) == 2
        assert max(evaluations) > 1 if ROWS[name].brs else max(evaluations) == 1  # the first is the forward pass
    printed = capsys.readouterr().out
    assert "| fine + BRS   |" in printed
    assert "17.40" in printed
    assert (tmp_path / "results/ablation.svg").read_text().count("<polyline") == 4


def test_the_fine_stage_goes_on_from_the_coarse_one_and_moves_the_whole_network(tmp_path):
    photos = photos_in(red_photos.write_pairs(tmp_path / "photos", 3))
    settings, recipe = Settings(64, 2, False), Recipe(steps=2, batch=2)
    trained = train_stages(photos, settings, recipe, tmp_path / "out", "cpu", progress=False)
    assert [each.network.fine for each in trained.values()] == [False, True]
    assert [each.progress.step for each in trained.values()] == [1, 1]
    begun, coarse, fine = (
        settings.network(0).state_dict(),
        *(read_weights(tmp_path / f"out/{stage}.safetensors") for stage in ("coarse", "fine")),
    )
    decoder, encoder = "fine_decoder.last.1.weight", "encoder.conv0.weight"
    assert torch.equal(coarse[decoder], begun[decoder])
    assert not torch.equal(fine[decoder], begun[decoder])
    assert not torch.equal(coarse[encoder], begun[encoder])
    assert not torch.equal(fine[encoder], coarse[encoder])
    zoo.brs_densenet(growth=2).load_state_dict(fine)


def test_a_folder_of_another_training_is_refused(command, monkeypatch):
    def no_training(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(brs_ablation, "train", no_training)
    with pytest.raises(KeyboardInterrupt):
        brs_ablation.main(command)
    with pytest.raises(SystemExit, match="growth 2, here 4"):
        brs_ablation.main([*command, "--growth", "4"])
    with pytest.raises(SystemExit, match="Try 64"):
        brs_ablation.main([*command, "--side", "60"])
    with pytest.raises(SystemExit, match="Expected growth 32"):
        brs_ablation.main([*command, "--encoder-weights", "imagenet"])


@pytest.mark.parametrize("length", [{"steps": 35}, {"minutes": 35.0}, {"steps": 1}])
def test_the_stages_share_the_length_as_published(length):
    recipes = brs_ablation._recipes(Recipe(**length))
    lengths = [each.steps or each.minutes for each in recipes.values()]
    assert lengths == ([1, 1] if length == {"steps": 1} else pytest.approx([20, 15]))


def test_rows_differ_in_brs_only():
    with_brs, without = wrap_options("fine + BRS", 256), wrap_options("fine", 256)
    assert {**with_brs, "max_evaluations": 0} == without


def test_photos_are_spread_evenly():
    assert spread(list("abcdefgh"), 4) == list("aceg")
    assert spread(list("ab"), None) == list("ab")
    with pytest.raises(OptionError):
        spread(list("ab"), 0)
