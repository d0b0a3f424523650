"""The benchmark of teaching: which frames it takes, and how their label maps are written."""

from __future__ import annotations

import numpy as np
from PIL import Image

from benchmarks.camvid_frames import Frames
from benchmarks.teach import chosen, write_accepted


def test_accepted_frames_are_written_as_teach_reads_them(tmp_path):
    labels = [np.full((4, 6), k, np.uint8) for k in (0, 5, 10)]
    labels[1][0] = 11  # unlabelled
    frames = Frames(["a", "b", "c"], [np.full((4, 6, 3), k, np.uint8) for k in range(3)], labels)
    folder = write_accepted(chosen(frames, range(1, 3)), tmp_path)
    assert sorted(path.name for path in (folder / "images").iterdir()) == ["b.png", "c.png"]
    written = np.asarray(Image.open(folder / "masks/b.png"))
    assert (written[0] == 255).all() and (written[1:] == 5).all()
