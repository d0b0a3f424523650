"""Rendered scenes with exact depth: balls and boxes on the ground before a wall, with textures, light and shadows.

A ray is cast through each pixel; depth is the distance along the camera's axis, in metres. "rooms" are seen by the
camera of the training; "shifted" ones by a camera at another height and angle, with larger things and stronger
textures, so that a network trained on rooms misjudges distances.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 96
NEAREST, FARTHEST = 1.0, 24.0  # metres
Array = NDArray[np.float64]
Picture = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""A picture (H, W, 3) and its depth (H, W) in metres."""


def rooms(random: np.random.Generator, side: int = SIDE) -> Picture:
    """A scene as the training has it."""
    return _rendered(random, side, height=random.uniform(1.3, 1.8), pitch=random.uniform(0.08, 0.2), large=1.0)


def shifted(random: np.random.Generator, side: int = SIDE) -> Picture:
    """A scene from another height and angle, with larger things."""
    height = random.choice([random.uniform(0.6, 0.9), random.uniform(2.4, 3.2)])
    return _rendered(random, side, height=height, pitch=random.uniform(0.15, 0.35), large=1.7)


def _rendered(random: np.random.Generator, side: int, height: float, pitch: float, large: float) -> Picture:
    across = np.linspace(-1, 1, side) * math.tan(math.radians(30))
    x, y = np.meshgrid(across, -across)
    # The camera looks along z, `pitch` below the horizon; rays (side, side, 3) go 1 m along its axis.
    rays = np.stack([x, y * math.cos(pitch) - math.sin(pitch), y * math.sin(pitch) + math.cos(pitch)], -1)
    eye = np.array([0.0, height, 0.0])
    sun = np.array([random.uniform(-0.8, 0.8), 1.0, random.uniform(-0.9, 0.1)])
    sun = sun / np.linalg.norm(sun)
    depth = np.full((side, side), FARTHEST)
    colours = np.ones((side, side, 3)) * random.uniform(0.6, 0.9, 3)
    light = np.ones((side, side))
    wall = random.uniform(9, 20)
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis, at, normal in ((1, 0.0, np.array([0.0, 1, 0])), (2, wall, np.array([0.0, 0, -1]))):
            reached = (at - eye[axis]) / rays[..., axis]
            nearer = (reached > 0) & (reached < depth)
            place = eye + rays * np.where(nearer, reached, 1)[..., None]
            depth[nearer] = reached[nearer]
            colours[nearer] = _painted(random, place, large)[nearer]
            light[nearer] = _lit(normal[None, None], sun)[0, 0]
    things = []
    for _ in range(int(random.integers(4, 10))):
        away, size = random.uniform(2.5, min(wall, 14.0) - 1), random.uniform(0.25, 0.8) * large
        middle = np.array([random.uniform(-0.55, 0.55) * away, size, away])
        things.append((middle, size, random.uniform(0.6, 1.4, 3) * size, random.uniform(0, math.pi)))
        place = eye + rays * depth[..., None]
        beside = np.hypot(place[..., 0] - middle[0] + sun[0] * size, place[..., 2] - middle[2] + sun[2] * size)
        shadow = (np.abs(place[..., 1]) < 1e-3) * np.exp(-((beside / (1.1 * size)) ** 4))  # round, on the ground alone
        light = light * (1 - 0.6 * shadow)
    for middle, size, halves, turn in things:
        reached, normal = (
            _ball(eye, rays, middle, size) if random.random() < 0.5 else _box(eye, rays, middle, halves, turn)
        )
        nearer = (reached > NEAREST) & (reached < depth)
        place = rays * np.where(nearer, reached, 1)[..., None] + eye - middle
        depth[nearer] = reached[nearer]
        colours[nearer] = _painted(random, place, large)[nearer]
        light[nearer] = _lit(normal, sun)[nearer]
    picture = colours * light[..., None] + random.normal(0, 0.02, colours.shape)
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8), depth.astype(np.float32)


def _lit(normal: Array, sun: Array) -> Array:
    """Lambert's shading, with light from all around."""
    found: Array = 0.35 + 0.75 * np.clip(normal @ sun, 0, None)
    return found


def _painted(random: np.random.Generator, place: Array, large: float) -> Array:
    """A texture of space, (H, W, 3): a plain colour, squares, stripes, or waves."""
    one, other = random.uniform(0.15, 0.95, (2, 3))
    period, kind = random.uniform(0.3, 1.2) * large, int(random.integers(4))
    if kind == 0:
        share = np.zeros(place.shape[:2])
    elif kind == 1:
        share = np.floor(place / period + 1e-4).sum(-1) % 2
    elif kind == 2:
        share = np.floor(place[..., int(random.integers(3))] / period + 1e-4) % 2
    else:
        share = 0.5 + 0.5 * np.sin(place / period * 3 + random.uniform(0, 6, 3)).prod(-1)
    share = random.uniform(0.3, 1.0) * share
    found: Array = one + (other - one) * share[..., None]
    return found


def _ball(eye: Array, rays: Array, middle: Array, radius: float) -> tuple[Array, Array]:
    """Where rays first meet a ball, (H, W) in ray lengths, infinite where never; and its normals (H, W, 3)."""
    offset = eye - middle
    square, half, rest = (rays**2).sum(-1), rays @ offset, offset @ offset - radius**2
    inside = half**2 - square * rest
    reached = np.where(inside > 0, (-half - np.sqrt(np.maximum(inside, 0))) / square, np.inf)
    place = offset + rays * np.where(np.isfinite(reached), reached, 0)[..., None]
    return reached, place / radius


def _box(eye: Array, rays: Array, middle: Array, halves: Array, turn: float) -> tuple[Array, Array]:
    """As `_ball`, for a box turned about the vertical, that stands on the ground."""
    cos, sin = math.cos(turn), math.sin(turn)
    turned = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    offset = turned @ (eye - np.array([middle[0], halves[1], middle[2]]))
    way = rays @ turned.T
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(-halves - offset) / way, (halves - offset) / way])
    near, far = ends.min(0), ends.max(0)
    axis = near.argmax(-1)
    reached = np.take_along_axis(near, axis[..., None], -1)[..., 0]
    reached = np.where((reached < far.min(-1)) & (reached > 0), reached, np.inf)
    normal = -np.sign(way) * (np.arange(3) == axis[..., None])
    return reached, normal @ turned
