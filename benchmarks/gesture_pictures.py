"""Draw the pictures of docs/gestures.md: `python -m benchmarks.gesture_pictures`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import interactify
from interactify import Box, Click, Interaction, Lasso, Paint, Scribble, draw
from interactify.draw.gestures import pictured

IMAGES = Path(__file__).parent.parent / "docs" / "images"
GESTURES: dict[str, list[Interaction]] = {
    "a click, and one that says what it is not": [Click(250, 230), Click(80, 80, positive=False)],
    "a box": [Box(70, 8, 485, 399)],
    "scribbles": [
        Scribble([(150, 250), (220, 330), (330, 350), (440, 280)], width=7),
        Scribble([(20, 140), (90, 60), (150, 15)], positive=False, width=7),
    ],
    "a lasso": [Lasso([(170, 25), (290, 5), (420, 50), (490, 200), (450, 330), (300, 395), (130, 350), (70, 220)])],
    "a click, and an eraser": [Click(250, 230), Paint([(10, 150), (60, 95), (185, 5)], width=60)],
}


def main() -> None:
    (coffee,) = (photo.path for photo in interactify.zoo.photos() if photo.name == "coffee")
    session = interactify.wrap(interactify.zoo.load()).session(coffee)
    panels = [("the network by itself", draw.overlay(session.photo, session.result.mask))]
    for title, interactions in GESTURES.items():
        session.restart()
        result = session.add(interactions)
        panels.append((title, pictured(session.photo, result.mask, interactions)))
        print(f"{title}: {result}")
    sheet = Image.fromarray(draw.contact_sheet(panels, columns=3))
    sheet.save(IMAGES / "gestures.jpg", quality=86)
    print(IMAGES / "gestures.jpg")


if __name__ == "__main__":
    main()
