"""What comes with the library: a network that was trained without clicks, one with, and photos to try them on."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
from torch import nn

from interactify.checkpoints import load_into, read_config, read_weights, weights_in
from interactify.demo_photos import REINSTALL, DemoPhoto, photos, write_photos
from interactify.errors import CheckpointError, OptionError
from interactify.learning.click_files import CONFIG, load_click_network
from interactify.zoo.brs_densenet import BRSDenseNet, brs_densenet

__all__ = ["BRSDenseNet", "DemoPhoto", "brs_densenet", "load", "photos", "write_photos"]

FOLDER = Path(str(files(__name__)))


def load(name: str = "saliency") -> nn.Module:
    """An embedded network, an `smp.Unet` on timm's EfficientNet-Lite0, whose encoder was pretrained on ImageNet.

    It is in evaluation mode, in float32, on the CPU, and a new object each time. Nothing is downloaded.

    Args:
        name: "saliency", which marks what stands out in a photo and was never shown a click: (N, 3, H, W) float32,
            sides divisible by 32, to logits (N, 1, H, W), positive on salient objects; or "clicks", the same network
            trained for clicks, as a `ReconfiguredStem`: (N, 3 + 3, H, W), the image with the maps that its
            `click_maps` state, to logits of the object that is clicked. `interactify.wrap` takes both.

    Returns:
        The network. As on a timm model, the `pretrained_cfg` of the `smp.Unet` describes its training: `input_size`
        (C, H, W), `mean` and `std` of photos in [0, 1], `interpolation` and the `first_conv`; `test_input_size` is the
        size at which `interactify.wrap` shows it photos. The model card is docs/embedded-network.md.

    Raises:
        OptionError: no network has this name.
        CheckpointError: the packaged files are missing, damaged, or do not fit each other.

    >>> from interactify import zoo
    >>> network = zoo.load()
    >>> network(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 1, 64, 96])
    >>> network.pretrained_cfg["input_size"]
    (3, 224, 224)
    >>> zoo.load("clicks").click_maps
    ClickMaps(kind='disk', radius=5, previous_mask=True)
    """
    if not isinstance(name, str) or name not in _SIDES:
        raise OptionError(f"Expected one of the networks {', '.join(_SIDES)}, got {name!r}. Try 'saliency'.")
    return _read(FOLDER / name, *_SIDES[name])


_SIDES = {"saliency": (224, 256), "clicks": (320, 320)}
"""The networks: the side of the squares at which the training of each ended, and of the photos that it is shown."""


def _read(folder: Path, trained_at: int, shown_at: int) -> nn.Module:
    """Read a folder of smp's `save_pretrained`, as `smp.from_pretrained` does, but silently and without random draws.

    The network is built on the meta device, where initialisation draws no random numbers. The file is in half precision
    to keep the wheel small; the network is in single precision.
    """
    import segmentation_models_pytorch as smp  # here: it takes a second, which photos() need not wait

    try:
        config = read_config(folder)
        kind = getattr(smp, config.pop("_model_class"))
        with torch.device("meta"):
            network: nn.Module = kind(**config)
        network = network.float().to_empty(device="cpu")
        network.pretrained_cfg = {  # type: ignore[assignment]
            "input_size": (3, trained_at, trained_at),
            "test_input_size": (3, shown_at, shown_at),
            "interpolation": "bilinear",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "first_conv": "encoder.model.conv_stem",
        }
        if (folder / CONFIG).exists():
            return load_click_network(network, folder)
        file = weights_in(folder)
        return load_into(network, read_weights(file), file).eval()
    except CheckpointError as error:
        raise CheckpointError(f"The embedded network is damaged. {error} {REINSTALL}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The embedded network is damaged: {folder / 'config.json'} builds no network "
            f"({type(error).__name__}: {error}). {REINSTALL}"
        ) from error
