"""Contact sheets of a run: its best, median and worst objects, with the final mask and every click."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from interactify import draw
from interactify.errors import PhotoError
from interactify.evaluation.campaign import Outcome
from interactify.evaluation.metrics import area_under_curve, clicks_to
from interactify.evaluation.records import Record
from interactify.interactions.click import Click
from interactify.pictures.picture import drawing_of

PANELS = 6
DETAIL = 800  # pixels of a photo's longest side on a sheet, before the sheet shrinks it further


def ranked(outcome: Outcome) -> list[Record]:
    """The records from best to worst, by the area under their curve of IoU; equal ones by name."""
    run = outcome.evaluation
    return sorted(run.records, key=lambda record: (-area_under_curve(record.curve, run.clicks), record.name))


def chosen(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Best, median and worst of ranked records, up to six each; with few records, one may be in two groups.

    >>> {kind: [r.name for r in some] for kind, some in chosen([Record(n, [0.5]) for n in "abcde"]).items()}
    {'best': ['a', 'b'], 'median': ['b', 'c'], 'worst': ['e', 'd']}
    """
    count = min(PANELS, -(-len(records) // 3))
    middle = (len(records) - count) // 2
    return {
        "best": list(records[:count]),
        "median": list(records[middle : middle + count]),
        "worst": list(records[::-1][:count]),
    }


def sheet(outcome: Outcome, kind: str, records: Sequence[Record]) -> bytes:
    """A contact sheet as JPEG."""
    most = outcome.evaluation.clicks
    panels = [(_caption(record, most), _panel(outcome, record)) for record in records]
    title = f"{outcome.campaign.dataset}: {kind} {'object' if len(panels) == 1 else f'{len(panels)} objects'}"
    columns = min(3, len(panels))
    picture = draw.contact_sheet(panels, columns=columns, width=520 * columns + 40, title=title)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="JPEG", quality=85, optimize=True)
    return content.getvalue()


def _caption(record: Record, most: int) -> str:
    needed = clicks_to(record.curve, 0.9, most)
    reached = f"0.90 after {needed}" if needed else f"0.90 not after {most}"
    return (
        f"{record.name}\nIoU {record.curve[0]:.3f} to {record.curve[-1]:.3f} in {len(record.clicks)} clicks, {reached}"
    )


def _panel(outcome: Outcome, record: Record) -> draw.Picture:
    value_range = outcome.campaign.options.get("value_range")
    photo = Image.fromarray(drawing_of(outcome.photos[record.name], outcome.channels, value_range))
    mask = _mask(outcome.campaign.mask_path(record.name))
    if mask.size != photo.size:
        raise PhotoError(
            f"Expected a mask of the size of {record.name}, got another in {outcome.campaign.mask_path(record.name)}. "
            "Try to run its photo again."
        )
    factor = DETAIL / max(photo.size)
    size = (max(1, round(photo.width * factor)), max(1, round(photo.height * factor)))
    clicks = [
        Click((x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5, positive)
        for gesture in record.clicks
        for x, y, positive in gesture
    ]
    enlarged = np.array(photo.resize(size, Image.Resampling.LANCZOS))
    inside = np.array(mask.resize(size, Image.Resampling.NEAREST)) > 127
    return draw.overlay(enlarged, inside, clicks=clicks)


def _mask(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("L")
    except OSError as cause:
        raise PhotoError(f"Expected a mask in {path}, got none ({cause}). Try to run its photo again.") from cause
