"""The moving picture of the README: `python -m benchmarks.moving_picture [--out docs/images/clicks.webp]`.

The embedded network follows clicks on the embedded photos, as in `make demo`: a pointer moves to a pixel and clicks,
and the library's mask appears, with the number of evaluations that it took.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import interactify
from interactify import draw, zoo
from interactify.draw import Picture
from interactify.interactions import Click

OUT = Path(__file__).parent.parent / "docs" / "images" / "clicks.webp"
WIDTH, HEIGHT, CAPTION = 600, 400, 44  # pixels of the picture, and of the line of text below it
QUALITY = 80  # of WebP, from 0 to 100
MOVE, STEP, HOLD = 6, 60, 1500  # frames of a pointer's move, milliseconds of each, and milliseconds of a mask
PHOTOS = ("coffee", "astronaut")  # in this order


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    net = interactify.wrap(zoo.load())
    photos = {photo.name: photo for photo in zoo.photos()}
    frames = [frame for name in PHOTOS for frame in frames_of(net, photos[name])]
    write(given.out, frames)
    print(f"{given.out}: {len(frames)} frames, {given.out.stat().st_size / 1e6:.2f} MB")


Frame = tuple[Image.Image, int]
"""A picture and its duration in milliseconds."""


def frames_of(net: interactify.Interactive, photo: zoo.DemoPhoto) -> Iterator[Frame]:
    """The frames of one photo: the network's own prediction, then each click with its mask."""
    session = net.session(photo.path)
    pixels = session.photo
    clicks: list[Click] = []
    pointer = (pixels.shape[1] * 0.5, pixels.shape[0] * 0.9)
    drawn = draw.overlay(pixels, session.result.mask)
    caption = "The network's own prediction, before any click"
    yield framed(drawn, pointer, caption), HOLD
    for number, click in enumerate(photo.clicks, 1):
        for x, y in path(pointer, (click.x, click.y)):
            yield framed(drawn, (x, y), caption), STEP
        pointer = (click.x, click.y)
        clicks.append(click)
        result = session.click(click.x, click.y, positive=click.positive)
        meaning = "this belongs to it" if click.positive else "this does not"
        drawn = draw.overlay(pixels, result.mask, clicks=clicks)
        caption = f"Click {number}: {meaning} ({result.evaluations} evaluations of the network)"
        yield framed(drawn, pointer, caption), HOLD


def path(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """The pointer's positions during a move, slower at both ends."""
    shares = (1 - np.cos(np.linspace(0, np.pi, MOVE + 2)[1:-1])) / 2
    return [(start[0] + s * (end[0] - start[0]), start[1] + s * (end[1] - start[1])) for s in shares]


def framed(picture: Picture, pointer: tuple[float, float], caption: str) -> Image.Image:
    """The picture in the middle, the pointer on it, the caption below."""
    scale = min(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    left, top = (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2
    canvas = Image.new("RGB", (WIDTH, HEIGHT + CAPTION), (250, 250, 248))
    canvas.paste(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), (left, top))
    pen = ImageDraw.Draw(canvas)
    x, y = left + pointer[0] * scale, top + pointer[1] * scale
    arrow = [(0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12)]
    pen.polygon([(x + dx, y + dy) for dx, dy in arrow], fill=(20, 20, 24), outline=(255, 255, 255))
    font = ImageFont.load_default(size=18)
    pen.text((WIDTH / 2, HEIGHT + CAPTION / 2), caption, fill=(28, 30, 34), font=font, anchor="mm")
    return canvas


def write(out: Path, frames: Sequence[Frame]) -> None:
    """Write an endless animation."""
    out.parent.mkdir(parents=True, exist_ok=True)
    first, *others = (picture for picture, _ in frames)
    durations = [milliseconds for _, milliseconds in frames]
    first.save(out, save_all=True, append_images=others, duration=durations, loop=0, quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
