"""A mask as a file of COCO run lengths."""

from __future__ import annotations

import os
from pathlib import Path

from interactify.export.files import write_json
from interactify.masks.arrays import Mask
from interactify.masks.run_lengths import run_lengths


def write_rle(path: str | os.PathLike[str], mask: Mask, *, compressed: bool = True) -> Path:
    r"""Write a mask's run lengths as JSON: one object with "size" and "counts", as from `run_lengths`.

    Args:
        path: of the file; an existing one is replaced.
        mask: (H, W) bool.
        compressed: counts as COCO's text; else as a list of numbers.

    Returns:
        The file's path.

    Raises:
        OptionError: `mask` is no such array, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rle(Path(folder, "mask.json"), np.eye(2, dtype=bool)).read_text()
    '{"size": [2, 2], "counts": "0120"}\n'
    """
    return write_json(path, run_lengths(mask, compressed=compressed))
