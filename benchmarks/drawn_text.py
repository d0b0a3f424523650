"""Pages and signs with words: drawn pictures for a text detector, and where their text is.

"pages" are dark words on paper, with bars that are no text; "signs" are words of any colour on the embedded photos.
The middle of a line is text, since such detectors are trained on lines that were shrunk; the rest of its box may be
either.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from interactify import zoo
from interactify.evaluation import Sample

SIZE = (480, 320)  # pixels, width and height
WORDS = (
    *("harbour", "ferry", "morning", "platform", "north", "ticket", "daily", "closed", "open", "exit", "market"),
    *("river", "school", "bread", "7:15", "16:40", "No. 12", "2 km", "please", "ring", "bell", "museum", "bridge"),
)


def text_samples(name: str, count: int) -> list[Sample]:
    """Pictures of "pages" or "signs", called 00, 01, …: always the same ones."""
    draw = {"pages": _page, "signs": _sign}[name]
    found = []
    for index in range(count):
        random = np.random.default_rng([zlib.crc32(name.encode()), index])
        picture, truth = draw(random)
        found.append(Sample(f"{index:02d}", picture, truth))
    return found


def _page(random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    paper = int(random.integers(205, 250))
    canvas = Image.new("RGB", SIZE, (paper, paper - 4, paper - 12))
    pen = ImageDraw.Draw(canvas)
    for _ in range(2):  # bars as high and as wide as letters
        left, top = int(random.integers(10, 200)), int(random.integers(10, SIZE[1] - 30))
        for bar in range(int(random.integers(8, 20))):
            height = int(random.integers(8, 22))
            pen.rectangle([left + 13 * bar, top, left + 13 * bar + 6, top + height], fill=(60, 60, 64))
    faint = random.random(5)
    return _written(random, canvas, [(int(35 + 150 * f**2),) * 3 for f in faint], halo=True)


def _sign(random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    photos = sorted(zoo.photos(), key=lambda photo: photo.name)
    photo = Image.open(photos[int(random.integers(len(photos)))].path).convert("RGB")
    scale = max(SIZE[0] / photo.width, SIZE[1] / photo.height) * random.uniform(1.0, 1.6)
    photo = photo.resize((int(photo.width * scale) + 1, int(photo.height * scale) + 1))
    left, top = (int(random.integers(0, room + 1)) for room in (photo.width - SIZE[0], photo.height - SIZE[1]))
    canvas = photo.crop((left, top, left + SIZE[0], top + SIZE[1]))
    colours = [tuple(int(each) for each in random.integers(0, 256, 3)) for _ in range(4)]
    return _written(random, canvas, colours, halo=False)


def _written(
    random: np.random.Generator, canvas: Image.Image, colours: list[tuple[int, ...]], *, halo: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """A line of words in each colour, where there is room for it: the picture, and its truth.

    With `halo` the paper around a line is cleared of what else is there, so that no line lies over bars.
    """
    pen, truth = ImageDraw.Draw(canvas), np.zeros((SIZE[1], SIZE[0]), np.int8)
    for colour in colours:
        size = int(random.integers(16, 40))
        words = " ".join(random.choice(WORDS, int(random.integers(1, 4)), replace=False).tolist())
        font = ImageFont.load_default(size=size)
        x, y = int(random.integers(8, 160)), int(random.integers(8, SIZE[1] - 60))
        left, top, right, bottom = (round(side) for side in pen.textbbox((x, y), words, font=font))
        if right > SIZE[0] - 8 or truth[max(0, top - 10) : bottom + 10, max(0, left - 10) : right + 10].any():
            continue
        if halo:
            pen.rectangle([left - 8, top - 6, right + 8, bottom + 6], fill=canvas.getpixel((0, 0)))
        pen.text((x, y), words, fill=colour, font=font)
        truth[top - 3 : bottom + 4, left - 3 : right + 4] = -1
        height, middle = bottom - top, (top + bottom) // 2
        half = max(1, round(0.12 * height))
        truth[middle - half : middle + half + 1, left + height // 2 : right - height // 2] = 1
    blurred = canvas.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.8)))
    noisy = np.asarray(blurred, float) + random.normal(0, random.uniform(0, 8), (SIZE[1], SIZE[0], 3))
    return np.round(np.clip(noisy, 0, 255)).astype(np.uint8), truth
