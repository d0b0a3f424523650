"""A run's report: JSON and CSV for other programs, and one page, as Markdown and as HTML in a single file."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from interactify.evaluation.campaign import Outcome
from interactify.evaluation.metrics import area_under_curve, clicks_to, continued
from interactify.evaluation.records import Evaluation
from interactify.evaluation.reports.curves import Line, svg
from interactify.evaluation.reports.sheets import chosen, ranked, sheet
from interactify.export.files import write_whole

Table = Sequence[Sequence[str]]
"""Rows of cells; the first row has the column names."""

PAGE = "report.html.jinja"  # beside this file


def write_report(outcome: Outcome) -> list[Path]:
    """Write `report.json`, `objects.csv`, `report.md` (with `curves.svg` and `sheets/`) and `report.html`.

    All are written into the folder of the run. Except for seconds, they are equal for equal configurations.

    Returns:
        The files' paths.

    Raises:
        OptionError: the folder can't be written to.
    """
    out, run = outcome.campaign.out, outcome.evaluation
    order = ranked(outcome)
    sheets = {kind: sheet(outcome, kind, records) for kind, records in chosen(order).items()}
    curves = svg(
        [
            Line("IoU", [r.curve for r in run.records], "#0a6fd6", band=True),
            Line("boundary IoU", [r.boundary for r in run.records], "#c2410c", "6 4"),
        ],
        run.clicks,
    )
    stored = {
        "summary": run.summary(),
        "configuration": outcome.configuration,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "records": [record.to_json() for record in run.records],
    }
    title = f"{outcome.campaign.dataset}, {len(run.records)} objects, at most {run.clicks} clicks"
    hardest = [["Object", "IoU before", "IoU at the end", "clicks made", "clicks to 0.85", "to 0.90"]]
    for record in order[::-1][:10]:
        to = [str(clicks_to(record.curve, q, run.clicks) or "never") for q in (0.85, 0.9)]
        ends = [f"{record.curve[0]:.3f}", f"{record.curve[-1]:.3f}", str(len(record.clicks))]
        hardest.append([record.name, *ends, *to])
    tables: dict[str, Table] = {**figures(run), "The ten hardest objects": hardest}
    settings = [["setting", "value"], *([key, _text(value)] for key, value in outcome.configuration.items())]
    (out / "sheets").mkdir(exist_ok=True)
    return [
        write_whole(out / "report.json", json.dumps(stored, indent=1).encode()),
        write_whole(out / "objects.csv", objects_csv(run).encode()),
        *[write_whole(out / "sheets" / f"{kind}.jpg", content) for kind, content in sheets.items()],
        write_whole(out / "curves.svg", curves.encode()),
        write_whole(out / "report.md", _markdown(title, tables, list(sheets), settings).encode()),
        write_whole(out / "report.html", _html(title, tables, curves, sheets, settings).encode()),
    ]


def figures(run: Evaluation) -> dict[str, Table]:
    """The tables of a run, by their titles."""
    summary = run.summary()
    steps = list(summary["iou_after"])
    noc = [["", "NoC", f"not within {run.clicks} clicks"]]
    noc += [[f"IoU ≥ 0.{q}", f"{run.noc(q / 100):.2f}", f"{run.failures(q / 100)}"] for q in (80, 85, 90)]
    after = [["clicks", *steps], ["mean IoU", *(f"{summary['iou_after'][k]:.3f}" for k in steps)]]
    if summary["boundary_iou_after"]:
        after.append(["mean boundary IoU", *(f"{summary['boundary_iou_after'][k]:.3f}" for k in steps)])
    click = [
        ["", "mean", "median", "95th percentile"],
        ["evaluations", *(f"{v:.1f}" for v in (run.evaluations_per_click, *map(run.evaluations_at, (50, 95))))],
        ["milliseconds", "", *(f"{run.seconds_at(p) * 1000:.0f}" for p in (50, 95))],
    ]
    rest = [
        ["", "value"],
        ["area under the curve of IoU", f"{run.area_under_curve:.4f}"],
        ["clicks after which every click was satisfied", f"{run.satisfied:.2%}"],
        ["collateral change, share of the photo's pixels a prediction", f"{run.collateral:.4%}"],
    ]
    return {"Number of clicks": noc, "After k clicks": after, "A click": click, "Other figures": rest}


def objects_csv(run: Evaluation) -> str:
    """A row for each object: clicks to each IoU (empty where never reached), final figures, and the whole curve."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    thresholds = (0.80, 0.85, 0.90)
    head = ["object", "clicks", *(f"clicks_to_{q:.2f}" for q in thresholds), "area_under_curve", "boundary_iou"]
    head += ["satisfied", "evaluations", "seconds", "collateral_change"]
    writer.writerow([*head, *(f"iou_{k}" for k in range(run.clicks + 1))])
    for record in run.records:
        row: list[Any] = [record.name, len(record.clicks)]
        row += [clicks_to(record.curve, q, run.clicks) or "" for q in thresholds]
        row += [round(area_under_curve(record.curve, run.clicks), 5), round(record.boundary[-1], 5)]
        row += [sum(record.satisfied), sum(record.evaluations), round(sum(record.seconds), 4)]
        row += [round(sum(record.collateral), 6)]
        writer.writerow([*row, *(round(value, 5) for value in continued(record.curve, run.clicks))])
    return text.getvalue()


NOTES = (
    "NoC@q is the mean number of clicks until IoU ≥ q, a failure counting as the most clicks; reaching q at the last "
    "click is no failure. Unknown pixels are not counted. Boundary IoU compares bands of 2 % of the diagonal (Cheng et "
    "al. 2021). Collateral change is the share of pixels that became wrong farther than 10 % of the diagonal from "
    "every new click. The band around the curve is the middle half of the objects. Seconds are those of the "
    "refinement, without reading the photo, the first prediction and the simulated user. Best, median and worst are "
    "chosen by the area under the curve."
)


def _markdown(title: str, tables: Mapping[str, Table], kinds: Sequence[str], settings: Table) -> str:
    parts = [f"# {title}", "![IoU against clicks](curves.svg)"]
    for name, table in tables.items():
        parts += [f"## {name}", _pipes(table)]
    for kind in kinds:
        parts += [f"## {kind.capitalize()}", f"![{kind} objects](sheets/{kind}.jpg)"]
    return "\n\n".join([*parts, "## How it was run", _pipes(settings), NOTES]) + "\n"


def _pipes(table: Table) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def _html(title: str, tables: Mapping[str, Table], curves: str, sheets: Mapping[str, bytes], settings: Table) -> str:
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    return pages.get_template(PAGE).render(
        title=title,
        tables=tables,
        curves=Markup(curves),
        sheets={kind: base64.b64encode(jpeg).decode() for kind, jpeg in sheets.items()},
        settings=settings,
        notes=NOTES,
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items()) or "as chosen by default"
    return str(value)
