"""The names that examples in docstrings take for granted, as their reader has imported them long before."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import pytest

# By default the hardware decides what steers a click. Tests and their child processes give the same on every machine;
# those of passes in bfloat16 ask for them.
os.environ["INTERACTIFY_PRECISION"] = "float32"

# The examples of a tool's modules are run where the tool is installed.
collect_ignore = [] if find_spec("label_studio_ml") else ["interactify/tools/label_studio.py"]
collect_ignore += [] if find_spec("napari") else ["interactify/tools/napari_plugin"]


@pytest.fixture(autouse=True, scope="session")
def _names_of_examples(doctest_namespace: dict[str, Any]) -> None:
    import numpy as np
    import torch

    import interactify

    doctest_namespace.update(interactify=interactify, np=np, torch=torch, nn=torch.nn)
