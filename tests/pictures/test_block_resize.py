"""What is seen of a picture is what resizing the whole gives, and takes no memory of its size."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from interactify.pictures import picture
from interactify.pictures import sources as stored
from interactify.pictures.decode import read_photo
from interactify.pictures.picture import open_picture
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Window, whole
from tests.fixtures.pictures import Sliced


@pytest.fixture
def little(monkeypatch):
    """Everything counts as large, and is read and worked out in little pieces."""
    monkeypatch.setattr(picture, "SMALL", 0)
    monkeypatch.setattr(picture, "_STRIP", 4000)
    monkeypatch.setattr(stored, "BLOCK", 2000)


def view_of(photo, view):
    """As torch resizes it in double precision: in single, its weights are off by 1e-5 at pixel 400 already."""
    # torch (2.14, CPU) repeats the first row where the result is one pixel wide; upright it is right.
    thin = view.content_size[1] == 1
    size = view.content_size[::-1] if thin else view.content_size
    exact = photo.double()[None].transpose(2, 3) if thin else photo.double()[None]
    exact = F.interpolate(exact, size=size, mode="bilinear", align_corners=False, antialias=True)
    return replace(view, photo_size=view.content_size).to_network((exact.transpose(2, 3) if thin else exact)[0])


@pytest.mark.parametrize("size", [(300, 400), (257, 1000), (90, 1), (1, 333), (130, 64)])
@pytest.mark.parametrize("resolution", [17, 64, 130, 350])
def test_resizing_in_blocks_equals_resizing_the_whole(little, size, resolution):
    photo = np.random.default_rng(4).integers(0, 256, (size[0] + 9, size[1] + 5, 3), dtype=np.uint8)
    window, view = Window(7, 4, *size), View.fit(size, resolution=min(resolution, max(size) - 1), divisor=32)
    lazy = Sliced(photo, chunks=(37, 50, 3))
    exact = view_of(open_picture(photo).read(window), view)
    for source in (photo, lazy):
        seen = open_picture(source).to_network(window, view)
        assert seen.shape == exact.shape and seen.dtype == torch.float32
        assert (seen - exact).abs().max() < 2e-6
    read = lazy.counts()
    assert read[window.slices].min() == read.max() == 1 and read.sum() == size[0] * size[1]


def test_a_small_window_is_exact_to_the_bit(monkeypatch):
    photo, view = np.random.default_rng(5).random((300, 400, 3)), View.fit((300, 400), resolution=100)
    window, expected = whole((300, 400)), view.to_network(read_photo(photo))
    assert torch.equal(open_picture(photo).to_network(window, view), expected)
    monkeypatch.setattr(picture, "SMALL", 300 * 400)
    assert torch.equal(open_picture(photo).to_network(window, view), expected)
    growing = View.fit((300, 400), resolution=500)  # nothing would be saved
    monkeypatch.setattr(picture, "SMALL", 0)
    assert torch.equal(open_picture(photo).to_network(window, growing), growing.to_network(read_photo(photo)))


def test_a_large_white_photo_stays_white_and_within_range(little):
    seen = open_picture(np.full((700, 500), 255, np.uint8)).to_network(Window(0, 0, 700, 500), View.fit((700, 500)))
    assert seen.max() <= 1 and seen.min() > 1 - 1e-6


@pytest.mark.parametrize("chunks", [(64, 64), (10, 300), ((64, 64), (64,))])
def test_blocks_end_where_chunks_do(monkeypatch, chunks):
    monkeypatch.setattr(stored, "BLOCK", 3 * 10_000)
    array = Sliced(np.zeros((200, 300, 3), np.uint8), chunks)
    high, wide = (each[0] if isinstance(each, tuple) else each for each in chunks)
    open_picture(array).uint8()
    assert len(array.windows) > 3 and (array.counts() == 1).all()
    for window in array.windows:
        assert window.top % high == 0 and window.left % wide == 0 and window.height * window.width <= 10_000


@pytest.mark.parametrize("chunks", [(150, 150), (1, 1), (0, 0), None, "auto", 7, (300,), (200, 300)])
def test_blocks_are_bounded_whatever_the_chunks(monkeypatch, chunks):
    monkeypatch.setattr(stored, "BLOCK", 3 * 10_000)
    array = Sliced(np.zeros((200, 300, 3), np.uint8), chunks)
    open_picture(array).uint8()
    assert (array.counts() == 1).all()
    assert max(window.height * window.width for window in array.windows) <= 10_000


_BOUNDED = """
import resource, sys
import numpy as np, torch
from interactify.pictures.picture import open_picture
from interactify.pictures.resize_pad import View
from interactify.pictures.window import whole

torch.set_num_threads(1)
picture = open_picture(np.memmap(sys.argv[1], np.uint8, "r", shape=(12000, 12000, 3)))
view = View.fit(picture.size, resolution=288, divisor=32)
torch.ones(3, 8, 8) @ torch.ones(8, 8)  # what a library sets up once is not the picture's
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 200 * 2**20,) * 2)
print(picture.to_network(whole(picture.size), view).sum().item(), len(picture.digest()))
try:
    picture.read(whole(picture.size))
except (RuntimeError, MemoryError):
    print("too large")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_a_picture_on_disk_takes_no_memory_of_its_size(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(12000 * 12000 * 3)
    ran = subprocess.run(
        [sys.executable, "-c", _BOUNDED, str(tmp_path / "sparse")], capture_output=True, text=True, timeout=100
    )
    assert ran.stdout.split("\n")[:2] == ["0.0 64", "too large"], ran.stderr
