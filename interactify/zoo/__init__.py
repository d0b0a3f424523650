"""What comes with the library: one real network that was never shown a click, and photos to try it on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import nn

from interactify.errors import CheckpointError
from interactify.interactions.click import Click

FOLDER = Path(str(files(__name__)))


@dataclass(frozen=True)
class DemoPhoto:
    """A photo that may be redistributed, with clicks that correct the embedded network on it."""

    name: str
    path: Path
    clicks: tuple[Click, ...]
    """In the order they are played; pixels of the photo, x to the right, y down."""
    source: str
    licence: str


def load() -> nn.Module:
    """The embedded network: a saliency U-Net of `segmentation_models_pytorch`, trained from scratch, never on clicks.

    It takes (N, 3, H, W) float32, sides divisible by 32, normalised with ImageNet's mean and deviation, and gives
    (N, 1, H, W) logits, positive on what stands out. It comes in evaluation mode, in float32, on the CPU, each time
    as a new object. Nothing is fetched. As on a timm model, `pretrained_cfg` says what it was trained on:
    `input_size` (C, H, W), `mean` and `std` of photos in [0, 1], `interpolation`, and the `first_conv`; and at which
    size clicks do most, `test_input_size`.

    Returns:
        The network, an `smp.Unet`.

    Raises:
        CheckpointError: The packaged files are missing, broken, or do not fit each other.

    >>> from interactify import zoo
    >>> network = zoo.load()
    >>> network(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 1, 64, 96])
    >>> network.pretrained_cfg["input_size"]
    (3, 256, 256)
    """
    network = _read(FOLDER / "saliency")
    network.pretrained_cfg = {  # type: ignore[assignment]
        "input_size": (3, 256, 256),
        "test_input_size": (3, 288, 288),
        "interpolation": "bilinear",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "first_conv": "encoder.model.conv1",
    }
    return network


def photos() -> list[DemoPhoto]:
    """The embedded photos, each with scripted clicks, its source and its licence.

    Raises:
        CheckpointError: The packaged list is missing or broken.

    >>> from interactify import zoo
    >>> [photo.name for photo in zoo.photos()]
    ['cat', 'coffee', 'astronaut']
    """
    folder = FOLDER / "photos"
    try:
        return [
            DemoPhoto(
                name=entry["name"],
                path=folder / entry["file"],
                clicks=tuple(Click.from_json(click) for click in entry["clicks"]),
                source=f"{entry['author']}, {entry['source']}",
                licence=entry["licence"],
            )
            for entry in json.loads((folder / "photos.json").read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"Expected a list of photos in {folder / 'photos.json'}: {error}. {_REINSTALL}"
        ) from error


_REINSTALL = "The files come with the package: install interactify again."


def _read(folder: Path) -> nn.Module:
    """Read what smp's `save_pretrained` wrote, as `smp.from_pretrained` does, but silently and without a random draw.

    The network is built on the meta device, where initialising draws nothing. The file holds half precision for the
    wheel's sake; the network computes in single.
    """
    import segmentation_models_pytorch as smp  # here, since it takes a second that photos() need not wait

    from interactify.checkpoints import load_into, read_config, read_weights, weights_in

    try:
        config, file = read_config(folder), weights_in(folder)
        kind = getattr(smp, config.pop("_model_class"))
        with torch.device("meta"):
            network: nn.Module = kind(**config)
        return load_into(network.to_empty(device="cpu"), read_weights(file), file).eval()
    except CheckpointError as error:
        raise CheckpointError(f"The embedded network is damaged. {error} {_REINSTALL}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The embedded network is damaged: no network is built from {folder / 'config.json'} "
            f"({type(error).__name__}: {error}). {_REINSTALL}"
        ) from error
