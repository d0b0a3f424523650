"""The names that examples in docstrings take for granted, as their reader has imported them long before."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="session")
def _names_of_examples(doctest_namespace: dict[str, Any]) -> None:
    import numpy as np
    import torch

    import interactify

    doctest_namespace.update(interactify=interactify, np=np, torch=torch, nn=torch.nn)
