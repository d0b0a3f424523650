"""Where files go: a folder that can be written to, and JSON as every format here writes it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interactify.errors import OptionError
from interactify.whole_file import write_whole


def prepare_folder(path: str | os.PathLike[str]) -> Path:
    """Make sure that files can be written to a folder, before any work is done for them.

    Args:
        path: the folder; it and the folders above it are created where missing.

    Returns:
        The folder's path.

    Raises:
        OptionError: where it can't be created, is a file, or can't be written to.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prepare_folder(Path(folder, "new", "out")).name
    'out'
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Only writing tells: permission bits don't know of read-only and full disks.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise OptionError(f"Can't write to {folder} ({reason}). Name a folder that you may write to.") from cause
    return folder


def write_json(path: str | os.PathLike[str], value: Mapping[str, Any]) -> Path:
    """Write JSON on one line, as programs read it; the file is replaced whole.

    Raises:
        OptionError: something in it has no place in JSON (NaN and infinity have none), or the file can't be written.
    """
    try:
        # ASCII, since pycocotools and others read files in whatever encoding their system has.
        text = json.dumps(value, allow_nan=False, ensure_ascii=True)
    except (TypeError, ValueError) as cause:
        raise OptionError(f"Can't be written as JSON: {cause}.") from cause
    return write_whole(Path(path), f"{text}\n".encode("ascii"))


def plain_numbers(values: np.ndarray) -> list[Any]:
    """Nested lists of an array's numbers, as integers where all of them are whole: half the text, and as exact."""
    whole = np.asarray(values, np.float64)
    return whole.astype(np.int64).tolist() if (whole == np.rint(whole)).all() else whole.tolist()
