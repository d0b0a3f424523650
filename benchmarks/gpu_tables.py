"""The results of `python -m benchmarks.gpu` as Markdown: every number is from its JSON, what is missing is named."""

from __future__ import annotations

from typing import Any

from benchmarks.speed_tables import (
    Results,
    click_table,
    device_name,
    graphs_text,
    machine_text,
    milliseconds,
    object_table,
    tf32_text,
)
from benchmarks.timed_parts import DONE

Part = dict[str, Any]
Row = tuple[str, dict[str, Any]]  # the part's name without its kind, and what it found


def gpu_summary(results: Results) -> str:
    """All that a run found, kind by kind; a kind of which no part was done is left out."""
    here = results["machine"]
    title = f"## In one command, on {device_name(results)}"
    told = f"`python -m benchmarks.gpu`. {machine_text(here)}{tf32_text(here)}{graphs_text(here)}"
    tables = (_tests, _graphs, _precision, _clicks, _objects, _memory, _families, _video)
    return "\n\n".join([title, told, _outcome(results), *(text for table in tables if (text := table(results)))]) + "\n"


def _outcome(results: Results) -> str:
    """How many parts were done, and which failed, do not hold, or are missing."""
    parts: dict[str, Part] = results["parts"]
    done = {name: part for name, part in parts.items() if part["outcome"] == DONE}
    lost = [name for name, part in done.items() if not part["found"].get("holds", True)]
    failed = [f"{name} ({part['reason']})" for name, part in parts.items() if part["outcome"] != DONE]
    missing = [f"{name} ({why})" for name, why in results.get("left_out", {}).items() if name not in parts]
    lines = [f"{len(done)} parts were measured, in {sum(part['seconds'] for part in parts.values()):.0f} seconds."]
    for what, names in (("Does not hold", lost), ("Failed", failed), ("Not measured", missing)):
        if names:
            lines.append(f"**{what}**: {'; '.join(names)}.")
    if done and not lost and not failed:
        lines.append("Every check of them holds.")
    return " ".join(lines)


def _of(results: Results, kind: str) -> list[Row]:
    """The parts of a kind that were done, in the order of the file."""
    return [
        (name.partition(" ")[2], part["found"])
        for name, part in results["parts"].items()
        if name.partition(" ")[0] == kind and part["outcome"] == DONE
    ]


def _table(title: str, text: str, columns: tuple[str, ...], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [
        f"### {title}",
        "",
        *([text, ""] if text else []),
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _yes(holds: bool) -> str:
    return "yes" if holds else "**no**"


def _tests(results: Results) -> str:
    rows = _of(results, "tests")
    if not rows:
        return ""
    ((_, found),) = rows
    lines = ["### The tests marked gpu", "", f"{found['in_short']}."]
    lines += [f"- `{name}`: {reason}" for name, reason in found["failed"].items()]
    return "\n".join(lines)


def _graphs(results: Results) -> str:
    rows = []
    for name, found in _of(results, "graphs"):
        passes, sessions = found["passes"], found["sessions"]
        if "reason" in passes:
            told = [f"no graph: {passes['reason']}", "–", "–", "–"]
        else:
            told = [
                "to the last bit" if passes["equal"] else f"{max(passes['logits'], passes['gradient']):.1e}",
                f"× {passes['times_faster']['median']:.2f}",
                f"{milliseconds(passes['capture_seconds'])} ms",
                f"{passes['capture_bytes']['kept'] / 1e6:.0f} MB",
            ]
        click = f"× {sessions['times_faster']:.2f}"
        rows.append([name, _yes(found["holds"]), told[0], told[1], click, *told[2:], f"{min(sessions['iou']):.4f}"])
    return _table(
        "CUDA graphs against step by step",
        "How far logits and gradients of a pass differ, how many times faster a pass and a click are as graphs, what "
        "capturing takes and keeps, and the lowest IoU of the masks after each click, with graphs and without.",
        ("network, variables, size", "holds", "differ by", "a pass", "a click", "capture", "kept", "lowest IoU"),
        rows,
    )


def _precision(results: Results) -> str:
    rows = []
    for name, found in _of(results, "precision"):
        asked = found["ways"]["float32"]["satisfied"]
        rows += [
            [
                *(name, way, _yes(row["holds"]), f"{row['mean_iou']:.3f} (≥ {row['least_iou']:.3f})"),
                *(f"{row['satisfied']} of {asked}", milliseconds(row["seconds_per_click"])),
                f"× {row['times_faster']:.2f}",
            ]
            for way, row in found["ways"].items()
        ]
    return _table(
        "Precisions",
        "The same clicks, and the IoU of their masks with those of float32 without TF32: the mean, and the lowest.",
        ("network, variables, size", "precision", "holds", "IoU", "satisfied", "ms a click", "than float32"),
        rows,
    )


def _clicks(results: Results) -> str:
    return click_table({"clicks": {found["case"]["name"]: found for _, found in _of(results, "clicks")}})


def _objects(results: Results) -> str:
    return object_table({"objects": {found["case"]["name"]: found for _, found in _of(results, "objects")}})


def _memory(results: Results) -> str:
    steps = ("open", "first click", "more clicks")
    rows = [
        [
            *(name, f"{found['weights'] / 1e6:.0f}"),
            *(_peak_and_kept(found["steps"].get(step)) for step in steps),
            *(f"{found['all'] / 1e6:.0f}", found["run"]),
        ]
        for name, found in _of(results, "memory")
    ]
    return _table(
        "Memory",
        "MB beyond what was there before: the most while it ran (what stayed). All is the most of everything together.",
        ("network, variables, size", "weights", *steps, "all", "run"),
        rows,
    )


def _peak_and_kept(step: dict[str, int] | None) -> str:
    return "–" if step is None else f"{step['peak'] / 1e6:.0f} ({step['kept'] / 1e6:.0f})"


def _families(results: Results) -> str:
    rows = [[name, _yes(found["holds"]), found["in_short"]] for name, found in _of(results, "family")]
    return _table("Families of networks", "", ("network", "holds", "found"), rows)


def _video(results: Results) -> str:
    steps = ("set_image", "without a point", "with a point")
    rows = [
        [
            *(name, f"{found['size'][0]} × {found['size'][1]}", str(found["resolution"])),
            f"{found['frames_per_second']:.1f}",
            *(
                f"{milliseconds(found['seconds'][step]['median'])} ({milliseconds(found['seconds'][step]['slowest'])})"
                for step in steps
            ),
        ]
        for name, found in _of(results, "video")
    ]
    return _table(
        "Frames of a video, through Predictor",
        "Frames a second with all three steps, and milliseconds of each: the median, and the slowest.",
        ("network", "frame", "resolution", "frames a second", *steps),
        rows,
    )
