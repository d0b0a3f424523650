"""The embedded networks and photos: offline, silent, without side effects, and complete."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import interactify
from interactify import demo_photos, zoo
from interactify.errors import CheckpointError, OptionError
from interactify.stem import ReconfiguredStem

SALIENCY = zoo.FOLDER / "saliency"
NAMES = ["saliency", "clicks"]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Of an embedded network."""
    return str(request.param)


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    """A copy of a packaged checkpoint, which tests damage."""
    return Path(shutil.copytree(zoo.FOLDER / name, tmp_path / name))


def test_it_loads_offline_silently_and_without_random_draws(name: str, monkeypatch, capfd):
    def refuse(*arguments: object, **keywords: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    random, dtype, threads = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    zoo.load(name)
    assert torch.equal(torch.get_rng_state(), random)
    assert (torch.get_default_dtype(), torch.get_num_threads()) == (dtype, threads)
    assert capfd.readouterr() == ("", "")


def test_it_is_what_smp_itself_reads():
    import segmentation_models_pytorch as smp

    theirs, ours = smp.from_pretrained(str(SALIENCY)).eval(), zoo.load()
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    assert type(ours) is type(theirs)
    with torch.no_grad():
        assert torch.equal(ours(image), theirs(image))


def test_every_number_comes_from_the_file(name: str):
    from safetensors.torch import load_file

    held = load_file(zoo.FOLDER / name / "model.safetensors")
    ours = zoo.load(name).state_dict()
    assert held.keys() == ours.keys()  # no tensor is left uninitialised
    assert all(torch.equal(held[name].to(tensor.dtype), tensor) for name, tensor in ours.items())
    assert not list(set(dict(zoo.load(name).named_buffers())) - set(held))


def test_it_is_ready_to_use_and_a_new_object_each_time(name: str):
    network = zoo.load(name)
    tensors = [*network.parameters(), *network.buffers()]
    assert not any(module.training for module in network.modules())
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in network.parameters())
    assert not any(tensor.is_meta for tensor in tensors)
    next(network.parameters()).data.zero_()
    assert next(zoo.load(name).parameters()).abs().sum() > 0


def test_its_settings_are_those_of_the_network(name: str):
    network = zoo.load(name)
    network = getattr(network, "model", network)  # the click network's settings are those of the network inside
    settings = network.pretrained_cfg
    stem = network.get_submodule(settings["first_conv"])
    assert isinstance(stem, torch.nn.Conv2d) and stem.in_channels == settings["input_size"][0]
    assert len(settings["mean"]) == len(settings["std"]) == 3


def test_the_one_that_is_trained_for_clicks_reads_their_maps():
    network = zoo.load("clicks")
    assert isinstance(network, ReconfiguredStem) and network.maps == 3
    assert all(kernel.abs().sum() > 0 for kernel in network.kernels)
    assert "click_maps" in interactify.wrap(network).describe()


def test_another_name_is_refused():
    with pytest.raises(OptionError, match=r"saliency, clicks, got 'salience'"):
        zoo.load("salience")


def test_it_fits_the_wheel(name: str):
    assert (zoo.FOLDER / name / "model.safetensors").stat().st_size <= 12e6


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, missing: str):
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=f"{missing}.*install interactify again"):
        zoo._read(folder, 224, 256)


@pytest.mark.parametrize(
    ("file", "content"), [("config.json", b"{"), ("config.json", b"[]"), ("model.safetensors", b"\x00" * 40)]
)
def test_a_damaged_file_is_a_checkpoint_error(folder: Path, file: str, content: bytes):
    (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match="install interactify again"):
        zoo._read(folder, 224, 256)


def test_weights_of_another_network_are_refused(folder: Path):
    save_file({"conv.weight": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"does not fit.*install interactify again"):
        zoo._read(folder, 224, 256)


@pytest.mark.parametrize("change", [{"_model_class": "NoSuchNetwork"}, {"classes": 2}, {"encoder_name": "nonesuch"}])
def test_a_configuration_of_another_network_is_refused(folder: Path, change: dict[str, object]):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match="install interactify again"):
        zoo._read(folder, 224, 256)


@pytest.mark.parametrize("photo", zoo.photos(), ids=lambda photo: photo.name)
def test_each_photo_opens_and_its_clicks_are_inside(photo: zoo.DemoPhoto):
    with Image.open(photo.path) as image:
        image.load()
        assert image.mode == "RGB" and max(image.size) <= 640
        assert "exif" not in image.info
        clicks = [click for each in photo.clicks_of.values() for click in each]
        assert all(0 <= click.x < image.width and 0 <= click.y < image.height for click in clicks)
    assert list(photo.clicks_of) == NAMES and photo.clicks == photo.clicks_of["saliency"]
    assert all(1 <= len(each) <= 8 for each in photo.clicks_of.values())
    assert photo.source and photo.licence in {"CC0-1.0", "public domain"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        photo.name = "another"  # type: ignore[misc]


def test_a_damaged_list_of_photos_is_a_checkpoint_error(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(demo_photos, "FOLDER", tmp_path)
    with pytest.raises(CheckpointError, match=r"photos\.json"):
        zoo.photos()


def test_photos_are_written_and_no_other_file_is_lost(tmp_path: Path):
    into = tmp_path / "new"
    assert zoo.write_photos(into) == [into / f"{name}.jpg" for name in ("cat", "coffee", "astronaut")]
    for photo in zoo.photos():
        assert (into / f"{photo.name}.jpg").read_bytes() == photo.path.read_bytes()
    (into / "cat.jpg").unlink()
    (into / "coffee.jpg").write_bytes(b"mine")
    with pytest.raises(OptionError, match=r"coffee\.jpg"):
        zoo.write_photos(into)
    assert [path.name for path in into.iterdir() if path.name == "cat.jpg"] == [], "nothing is written"
    assert (into / "coffee.jpg").read_bytes() == b"mine"
    (into / "coffee.jpg").unlink()
    assert zoo.write_photos(into) == zoo.write_photos(into)
