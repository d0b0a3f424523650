"""What tests of the command line share: a folder with a photo and a network that `--model` names."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

# A network that answers to brightness: logit = 4 * (mean of the normalised channels).
NETWORK = """
import torch
from torch import nn

def build():
    conv = nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        conv.weight.fill_(4 / 3)
        conv.bias.zero_()
    return conv

def three_classes():
    return nn.Conv2d(3, 3, 1)

def interrupted():
    raise KeyboardInterrupt

def broken():
    raise RuntimeError("unforeseen")

def several_lines():
    from interactify.errors import ModelError
    raise ModelError("one\\n  two\\n\\nthree")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a network and a photo, dark on the left and bright on the right, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network_for_cli.py").write_text(NETWORK)
    photo = np.full((40, 64, 3), 30, np.uint8)
    photo[:, 32:] = 225
    Image.fromarray(photo).save(tmp_path / "photo.png")
    yield tmp_path
    sys.modules.pop("network_for_cli", None)


BUILD = ["--model", "network_for_cli:build"]
