"""The tables of a speed benchmark as Markdown: every number in them comes from the JSON of a run."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.speed_contestants import OURS

Results = dict[str, Any]
HEAD, WHOLE, TORCH_HEAD, TORCH_WHOLE = "SciPy, head", "SciPy, whole", "torch.optim, head", "torch.optim, whole"


def summary(results: Results) -> str:
    """All tables of a run, as Markdown."""
    tables = (_machine, _goals, click_table, _after, object_table, _first)
    return "\n\n".join(text for table in tables if (text := table(results))) + "\n"


def device_name(results: Results) -> str:
    """The GPU, or the processor with its cores and threads."""
    here = results["machine"]
    return here.get("gpu") or f"{here['processor']}, {here['cores']} cores, {_threads(here)}"


def _threads(here: dict[str, Any]) -> str:
    return f"{here['threads']} thread{'s' if here['threads'] > 1 else ''}"


def in_short(results: Results) -> str:
    """The medians that answer how long a click takes, as sentences."""
    cases = list(results["clicks"].values())
    at_input = [case for case in cases if case["case"]["point"] == "input"]
    inside = [case for case in cases if case["case"]["point"] != "input"]
    parts = []
    size = min((case["case"]["size"] for case in at_input), default=0)
    times = [
        f"{milliseconds(case['contestants'][OURS]['per_click']['median'])} ms for {_network(case['case']['network'])}"
        for case in at_input
        if case["case"]["size"] == size and case["case"]["clicks"] == 1
    ]
    if times:
        parts.append(f"At the input, a click at {size} × {size} pixels takes {', '.join(times)}.")
    passes = [passes_a_click(results, case, case["contestants"][OURS]) for case in at_input]
    known = [each["median"] for each in passes if each is not None]
    if known:
        parts.append(f"That is {statistics.median(known):.2g} forward passes of the network (median of all sizes).")
    if at_input:
        parts.append(f"It is {_compared(_ratios(at_input, WHOLE))} SciPy on the whole network (median of all sizes).")
    if inside:
        parts.append(
            f"With scale and bias at A, B or C, a click is {_compared(_ratios(inside, WHOLE))} SciPy on the whole "
            f"network, and {_compared(_ratios(inside, HEAD))} SciPy on the head alone."
        )
        overhead = statistics.median(case["contestants"][OURS]["overhead"]["median"] for case in inside)
        if overhead > 1.5:
            parts.append(
                f"There little is left to compute, and the library's own Python code takes most of the time (median "
                f"overhead {overhead:.2g})."
            )
    return " ".join(parts)


def _network(name: str) -> str:
    return "the embedded network" if name == "embedded" else name


def _compared(ratios: list[float]) -> str:
    """How much faster this library is, from the others' times over its own."""
    middle = statistics.median(ratios)
    return f"{middle:.2g} times faster than" if middle >= 1 else f"{1 / middle:.2g} times slower than"


def machine_text(here: dict[str, Any]) -> str:
    """Memory, versions and day of a measurement, as sentences."""
    versions = ", ".join(f"{name} {here[name]}" for name in ("interactify", "torch", "scipy", "numpy"))
    host = ""
    if here.get("gpu"):
        host = f"; its processor is {here['processor']}, {here['cores']} cores, {_threads(here)}"
    cuda = f", CUDA {here['cuda']}" if here.get("cuda") else ""
    return (
        f"The machine has {here['memory_gib']:g} GiB of memory{host}. Versions: Python {here['python']}, "
        f"{versions}{cuda}. Date: {here['date']}."
    )


def _machine(results: Results) -> str:
    here = results["machine"]
    quick = " This is a quick run: it only shows that the benchmark works." if results["quick"] else ""
    return (
        f"## On {device_name(results)}\n\n{machine_text(here)} The fastest float32 matrix product reaches "
        f"{results['peak'] / 1e9:.4g} Gflop/s.{tf32_text(here)}{graphs_text(here)}{_steering_text(here)}{quick}"
    )


def with_graphs(here: dict[str, Any]) -> bool:
    """Whether passes were replayed as CUDA graphs: as stated, or, up to version 0.2, by default on every GPU."""
    return bool(here["device"].startswith("cuda") and here.get("cuda_graphs", True))


def graphs_text(here: dict[str, Any]) -> str:
    """How a GPU's passes were run; nothing for a processor."""
    if not here["device"].startswith("cuda"):
        return ""
    if with_graphs(here):
        return " Passes were replayed as CUDA graphs, as with `wrap(cuda_graphs=True)`."
    return " Passes ran step by step, the default, and not as CUDA graphs."


def tf32_text(here: dict[str, Any]) -> str:
    """Why a GPU's convolutions round differently in a batch."""
    if not here.get("tf32", {}).get("convolution"):
        return ""
    return (
        " Convolutions run in TF32, PyTorch's default on this device: 10 bits of mantissa, and different rounding for "
        "a different number of objects in a batch."
    )


def _steering_text(here: dict[str, Any]) -> str:
    """Whether this library steered in bfloat16; a result of version 0.2 or before did not, and does not say so."""
    return " This library steered in bfloat16." if here.get("steered in") == "bfloat16" else ""


def _goals(results: Results) -> str:
    """The aims, and the median and the worst case of each."""
    cases = list(results["clicks"].values())
    inside = [case for case in cases if case["case"]["point"] != "input"]
    at_input = [case for case in cases if case["case"]["point"] == "input"]
    batches = [case for case in results["objects"].values() if case["case"]["objects"] >= 16]
    cuda, graphs = results["machine"]["device"].startswith("cuda"), with_graphs(results["machine"])
    # CUDA graphs hold their memory from the start, so there it counts as kept memory.
    memory = "ratio_with_kept" if graphs else "ratio"
    passes = [passes_a_click(results, case, case["contestants"][OURS]) for case in at_input]
    rows = [
        ("passes a click, at the input", [each["median"] for each in passes if each is not None], 2.2, False),
        ("overhead", [c["contestants"][OURS]["overhead"]["median"] for c in cases], 1.15 if cuda else 1.10, False),
        ("times faster than SciPy, head, at A, B, C", _ratios(inside, HEAD), 1.2, True),
        ("times faster than SciPy, whole, at A, B, C", _ratios(inside, WHOLE), 3.0, True),
        ("times faster than SciPy, whole, on the input", _ratios(at_input, WHOLE), 1.15, True),
        (
            "times the throughput of one by one, for 16 objects and more",
            [c["times_batch"][f"{OURS}, one by one"]["median"] for c in batches],
            8.0 if cuda else 1.3,
            True,
        ),
        (
            "operations ÷ those of the bare part",
            [c["operations"]["ratio"] for c in cases if c["operations"]["ratio"] is not None],
            1.01,
            False,
        ),
        (
            f"memory of a click ÷ one bare pass{', with kept memory' if graphs else ''}",
            [c["memory"][memory] for c in cases],
            1.1,
            False,
        ),
        (
            "first click ÷ SciPy, whole, at the same number of evaluations",
            [shape["ratio_alike"]["median"] for c in results["first"].values() for shape in c["shapes"].values()],
            1.3,
            False,
        ),
    ]
    lines = ["| this library | aim | median | worst | cases | aim reached |", "|---|---|---|---|---|---|"]
    for label, values, aim, more in rows:
        if values:
            holding = sum(value >= aim if more else value <= aim for value in values)
            worst = min(values) if more else max(values)
            sign = "≥" if more else "≤"
            middle = statistics.median(values)
            lines.append(f"| {label} | {sign} {aim:g} | {middle:.3g} | {worst:.3g} | {len(values)} | {holding} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _ratios(cases: list[dict[str, Any]], name: str) -> list[float]:
    return [case["contestants"][name]["times_ours"]["median"] for case in cases]


def plain_pass(results: Results, case: dict[str, Any]) -> float | None:
    """Seconds of one forward pass of a case's whole network, as this run measured it; None if it did not.

    Runs up to version 0.2 measured none by itself. There the bare part at the input is the whole network, and its
    forward pass, which also records what a gradient needs, is that of every case with this network and size.
    """
    if "plain" in case:
        return float(case["plain"]["median"])
    name, size = case["case"]["network"], case["case"]["size"]
    whole = [
        other["bare"]["forward"]["median"]
        for other in (case, *results["clicks"].values())
        if (other["case"]["network"], other["case"]["size"], other["case"]["point"]) == (name, size, "input")
    ]
    return float(whole[0]) if whole else None


def passes_a_click(results: Results, case: dict[str, Any], row: dict[str, Any]) -> dict[str, float] | None:
    """A contestant's time of a click ÷ that of a plain pass: the median, with quartiles where both were in one turn."""
    if "passes" in row:
        return dict(row["passes"])
    plain = plain_pass(results, case)
    return None if plain is None else {"median": row["per_click"]["median"] / plain}


def _passes(results: Results, case: dict[str, Any], row: dict[str, Any]) -> str:
    found = passes_a_click(results, case, row)
    if found is None:
        return "–"
    return f"{found['median']:.2f}" + (f" ({found['q1']:.2f}–{found['q3']:.2f})" if "q1" in found else "")


def _about_passes(results: Results) -> list[str]:
    """What stands for the plain pass where a run measured none by itself, and where there is nothing."""
    cases = [case for case in results["clicks"].values() if "plain" not in case]
    absent = [case["case"]["name"] for case in cases if plain_pass(results, case) is None]
    lines = []
    if len(absent) < len(cases):
        lines += [
            "",
            "Passes a click without quartiles: this run measured no plain pass by itself. It was divided by the "
            "forward pass of the bare part at the input, which is the whole network at the same size in the same run, "
            "with what its gradient needs recorded.",
        ]
    if absent:
        lines += ["", f"A dash: this run has no pass of the whole network at that size ({', '.join(absent)})."]
    return lines


def click_table(results: Results) -> str:
    """A row for each case: passes a click, this library's times, and the others beside them."""
    if not results["clicks"]:
        return ""
    lines = [
        "### One click",
        "",
        "Passes a click, milliseconds and evaluations of a click (medians with quartiles). The other contestants: "
        "their time ÷ the time of this library, and their evaluations.",
        "",
        "| network, variables, size | passes a click | this library | SciPy, head | SciPy, whole | torch, head "
        "| torch, whole | overhead (per pass run) | operations | share of peak | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in results["clicks"].items():
        everyone, memory = case["contestants"], case["memory"]
        ours = everyone[OURS]
        own = f"{_spread_of(ours['per_click'])}, {_evaluations(ours)}"
        rest = [_other(everyone.get(other)) for other in (HEAD, WHOLE, TORCH_HEAD, TORCH_WHOLE)]
        overhead = f"{ours['overhead']['median']:.2f} ({ours['overhead_of_passes_made']['median']:.2f})"
        ratio = case["operations"]["ratio"]
        done = "–" if ratio is None else f"{ratio:.3f}"
        held = f"{memory['ratio']:.2f} ({memory['ratio_with_kept']:.2f})"
        peak = f"{100 * case['share_of_peak']:.0f} %"
        cells = [name, _passes(results, case, ours), own, *rest, overhead, done, peak, held]
        lines.append(f"| {' | '.join(cells)} |")
    lines += _about_passes(results)
    apart = [
        f"{name}: {other}"
        for name, case in results["clicks"].items()
        for other, row in case["contestants"].items()
        if not row["agrees_with_ours"]
    ]
    if apart:
        lines += ["", f"These disagree with this library about which clicks are satisfied: {'; '.join(apart)}."]
    return "\n".join(lines)


def _other(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    ratio = row["times_ours"]
    return f"× {ratio['median']:.2f} ({ratio['q1']:.2f}–{ratio['q3']:.2f}), {_evaluations(row)}"


def _evaluations(row: dict[str, Any]) -> str:
    return f"{statistics.mean(row['evaluations']):.3g}"


def _spread_of(seconds: dict[str, float]) -> str:
    """Median and quartiles in milliseconds."""
    return f"{milliseconds(seconds['median'])} ({milliseconds(seconds['q1'])}–{milliseconds(seconds['q3'])})"


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds, with three digits."""
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:.0f}"


def _after(results: Results) -> str:
    cases = {name: case for name, case in results["clicks"].items() if case["case"]["clicks"] > 1}
    if not cases:
        return ""
    lines = [
        "### Many clicks",
        "",
        "Milliseconds until the mask after the given number of clicks, without the opening of the photo.",
        "",
        "| network, variables, size | | passes a click | clicks: milliseconds | evaluations | satisfied at the end |",
        "|---|---|---|---|---|---|",
    ]
    for name, case in cases.items():
        for who, row in case["contestants"].items():
            times = ", ".join(f"{k}: {milliseconds(spread['median'])}" for k, spread in row["after"].items())
            made = len(case["script"])
            lines.append(
                f"| {name} | {who} | {_passes(results, case, row)} | {times} | {sum(row['evaluations'])} | "
                f"{row['satisfied_at_the_end']} of {made} |"
            )
    return "\n".join(lines)


def object_table(results: Results) -> str:
    """A row for each case of many objects in one photo."""
    if not results["objects"]:
        return ""
    lines = [
        "### Many objects in one photo",
        "",
        "Milliseconds for all objects, one click each, with the opening of the photo. The others: their time ÷ the "
        "time of one batch. The last column counts the pixels, over the masks of all objects, that differ between the "
        "batch and one by one.",
        "",
        "| network, variables, size, objects | one batch | this library, one by one | SciPy, one by one "
        "| pixels that differ |",
        "|---|---|---|---|---|",
    ]
    for name, case in results["objects"].items():
        ratios = [
            f"× {ratio['median']:.2f} ({ratio['q1']:.2f}–{ratio['q3']:.2f})" for ratio in case["times_batch"].values()
        ]
        cells = [name.removeprefix("objects "), _spread_of(case["seconds"][OURS]), *ratios]
        lines.append(f"| {' | '.join(cells)} | {case['pixels_unlike_alone']} |")
    return "\n".join(lines)


def _first(results: Results) -> str:
    if not results["first"]:
        return ""
    lines = [
        "### The first click",
        "",
        "Milliseconds to open a photo and make the first click: with a network that was just wrapped (without the time "
        "of wrapping), then with a photo of another shape. The ratio is this library ÷ SciPy on the whole network. The "
        "evaluations are those of both; the next column is the ratio at the same number of evaluations.",
        "",
        "| network, variables, size | | this library | SciPy, whole | ratio | evaluations | at as many | wrapping |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, case in results["first"].items():
        for shape, row in case["shapes"].items():
            times = " | ".join(milliseconds(spread["median"]) for spread in row["seconds"].values())
            counts = " and ".join(str(count) for count in row["evaluations"].values())
            ratio, alike, wrapping = row["ratio"], row["ratio_alike"], milliseconds(case["wrapping"]["median"])
            lines.append(
                f"| {name.removeprefix('first ')} | {shape} | {times} | "
                f"{ratio['median']:.2f} ({ratio['q1']:.2f}–{ratio['q3']:.2f}) | {counts} | "
                f"{alike['median']:.2f} ({alike['q1']:.2f}–{alike['q3']:.2f}) | {wrapping} |"
            )
    return "\n".join(lines)
