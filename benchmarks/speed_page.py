"""The tables of a speed benchmark, and docs/speed.md: every number in it comes from a JSON of results."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.speed_contestants import OURS

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "speed.md", ROOT / "benchmarks" / "results"
Results = dict[str, Any]
HEAD, WHOLE, TORCH_HEAD, TORCH_WHOLE = "SciPy, head", "SciPy, whole", "torch.optim, head", "torch.optim, whole"

METHOD = """\
# Speed

What a click takes, by `python -m benchmarks.speed`, which also writes this page (`--page`): no number on it is typed
by hand. Losses are shown as they are.

## Method

**Who is timed**, on the same network, photo and clicks, in one run:

- *this library*, by its public API: `session.click(…)` until `result.mask` is there;
- *SciPy, whole*: the published way. `scipy.optimize.fmin_l_bfgs_b` on the host with float64 vectors (m = 20,
  factr = 0, pgtol = 1e-8, as f-BRS's released code), each evaluation running the whole network with the variables
  put in place by a hook;
- *SciPy, head*: the same as f-BRS does it. The features up to the variables are kept for the photo, and only the
  rest of the network, cut by hand for each network, is run for an evaluation;
- *torch.optim*, whole and head: `torch.optim.LBFGS` (strong Wolfe line search, history of 20) in SciPy's place.

All minimise the same energy (squared hinge on the clicked logits, margin 3, aim 4, inertia 1e-3) of the network's own
map (`propagation="none"`; following colours and edges takes 2.5 ms a click more at 288² and 50 ms at 1024², and 2.5
and 160 ms for each new view of a photo, on the same two cores), begin where the
last click ended, skip the backward pass of the evaluation that reaches the goal, and stop after 40 evaluations. None
computes gradients for weights. On the input there is nothing to keep, and so no head. They share nothing of the library
but the photos and the clicks; that they run the same network is tested, and that they agree about the clicks is
checked in every run.

**Networks**: smp's Unet/ResNet-34 and DeepLabV3+/ResNet-50 with random weights (scaled at the last layer, for each
size, so that the logits have a deviation of 2 and clicks have something to put right), and the embedded network.
**Places**: the input, and scale and bias at f-BRS's A, B and C, where `describe()` finds them. **Clicks** are the
simulated user's, who wants an ellipse in the middle, answering to the masks of one of the other contestants; everyone
gets the same.

**Timing**: everyone plays a case at least twice to warm up, then all take turns within each repetition, in another
order each time. Times are medians with quartiles; ratios are medians of the ratios within a repetition, so that what
slows a whole repetition down cancels out. A case is repeated at least 5 times (3 at 512², 2 at 1024²), then up to 25
times until 20 seconds have passed. On a GPU it is synchronised before the clock is read.

**Beside time**:

- *overhead*: seconds of a click ÷ (evaluations × seconds of one forward and backward pass of the part that depends
  on the variables, run bare in the same repetition: cut by hand, as it comes, without energy or solver). The evaluation
  that ends a click has no backward pass, so that less than 1 is possible; *of passes made* counts the forward and
  backward passes that were really made.
- *operations*: floating-point operations of the clicks by `FlopCounterMode`, over those of the bare part for as many
  passes. Less than 1 where a click went on from the pass that the last one, or the opening, ended with. On a GPU,
  replayed graphs hide from the counter, and nothing is stated.
- *share of peak*: the bare part's operations for as many passes ÷ seconds ÷ the fastest float32 matrix product seen
  on the device (2048³ and 4096³). More than 100 % is possible, where a convolution needs fewer operations than are
  counted, or is better tuned than the product.
- *memory*: the most that a click needs beyond what there was, over the same of one bare forward and backward pass; in
  brackets, the same with all that is kept for the network and the photo added on both sides. On the CPU by the
  profiler's record of each allocation, on a GPU by its allocator.
"""
NOTHING = "\n## Results\n\nNone are kept here yet: `python -m benchmarks.speed` measures them on your machine.\n"


def newest(folder: Path = RESULTS) -> list[Results]:
    """The newest full results of each kind of device, the CPU first."""
    found: dict[str, Results] = {}
    for path in sorted(folder.glob("speed-*.json"), key=lambda path: path.name):
        results = json.loads(path.read_text(encoding="utf-8"))
        kind = results["machine"]["device"].partition(":")[0]
        if not results["quick"] and (kind not in found or results["machine"]["date"] >= found[kind]["machine"]["date"]):
            found[kind] = results
    return [found[kind] for kind in sorted(found)]


def write_page(folder: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the method, and below it the newest results."""
    parts = [summary(results) for results in newest(folder)]
    page.write_text(METHOD + ("\n" + "\n".join(parts) if parts else NOTHING), encoding="utf-8")


def summary(results: Results) -> str:
    """All tables of a run, as Markdown."""
    parts = [_machine(results), _goals(results), _clicks(results), _after(results), _objects(results), _first(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(results: Results) -> str:
    here = results["machine"]
    place = here.get("gpu") or f"{here['processor']}, {here['cores']} cores, {here['threads']} threads"
    versions = ", ".join(f"{name} {here[name]}" for name in ("interactify", "torch", "scipy", "numpy"))
    quick = " A quick run, good for nothing but to see that it works." if results["quick"] else ""
    return (
        f"## On {place}\n\n{here['memory_gib']:g} GiB of memory, Python {here['python']}, {versions}, {here['date']}; "
        f"fastest float32 matrix product {results['peak'] / 1e9:.4g} Gflop/s.{quick}"
    )


def _goals(results: Results) -> str:
    """What was aimed at, and what came: the median and the worst case of each."""
    cases = list(results["clicks"].values())
    inside = [case for case in cases if case["case"]["point"] != "input"]
    at_input = [case for case in cases if case["case"]["point"] == "input"]
    batches = [case for case in results["objects"].values() if case["case"]["objects"] >= 16]
    cuda = results["machine"]["device"].startswith("cuda")
    # Graphs hold their memory from the start: on a GPU it is counted with what is kept.
    memory = "ratio_with_kept" if cuda else "ratio"
    rows = [
        ("overhead", [c["contestants"][OURS]["overhead"]["median"] for c in cases], 1.15 if cuda else 1.10, False),
        ("times faster than SciPy, head, at A, B, C", _ratios(inside, HEAD), 1.2, True),
        ("times faster than SciPy, whole, at A, B, C", _ratios(inside, WHOLE), 3.0, True),
        ("times faster than SciPy, whole, on the input", _ratios(at_input, WHOLE), 1.15, True),
        (
            "times the throughput of one by one, 16 objects and more",
            [c["times_batch"][f"{OURS}, one by one"]["median"] for c in batches],
            8.0 if cuda else 1.3,
            True,
        ),
        (
            "operations run over those that depend on the variables",
            [c["operations"]["ratio"] for c in cases if c["operations"]["ratio"] is not None],
            1.01,
            False,
        ),
        ("memory of a click over one bare pass", [c["memory"][memory] for c in cases], 1.1, False),
        (
            "first click over the untraced way, at as many evaluations",
            [shape["ratio_alike"]["median"] for c in results["first"].values() for shape in c["shapes"].values()],
            1.3,
            False,
        ),
    ]
    lines = ["| this library | aim | median | worst | cases | that hold |", "|---|---|---|---|---|---|"]
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


def _clicks(results: Results) -> str:
    if not results["clicks"]:
        return ""
    lines = [
        "### One click",
        "",
        "Milliseconds (quartiles) and evaluations a click; for the others, how many times as long as this library.",
        "",
        "| network, place, size | this library | SciPy, head | SciPy, whole | torch, head | torch, whole "
        "| overhead (of passes made) | operations | share of peak | memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in results["clicks"].items():
        everyone, memory = case["contestants"], case["memory"]
        ours = everyone[OURS]
        spread = ours["per_click"]
        own = f"{_ms(spread['median'])} ({_ms(spread['q1'])}–{_ms(spread['q3'])}), {_evaluations(ours)}"
        rest = [_other(everyone.get(other)) for other in (HEAD, WHOLE, TORCH_HEAD, TORCH_WHOLE)]
        overhead = f"{ours['overhead']['median']:.2f} ({ours['overhead_of_passes_made']['median']:.2f})"
        ratio = case["operations"]["ratio"]
        done = "–" if ratio is None else f"{ratio:.3f}"
        held = f"{memory['ratio']:.2f} ({memory['ratio_with_kept']:.2f})"
        cells = [name, own, *rest, overhead, done, f"{100 * case['share_of_peak']:.0f} %", held]
        lines.append(f"| {' | '.join(cells)} |")
    apart = [
        f"{name}: {other}"
        for name, case in results["clicks"].items()
        for other, row in case["contestants"].items()
        if not row["agrees_with_ours"]
    ]
    if apart:
        lines += ["", f"Not of one mind with this library about which clicks are satisfied: {'; '.join(apart)}."]
    return "\n".join(lines)


def _other(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    ratio = row["times_ours"]
    return f"× {ratio['median']:.2f} ({ratio['q1']:.2f}–{ratio['q3']:.2f}), {_evaluations(row)}"


def _evaluations(row: dict[str, Any]) -> str:
    return f"{statistics.mean(row['evaluations']):.3g}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:.0f}"


def _after(results: Results) -> str:
    cases = {name: case for name, case in results["clicks"].items() if case["case"]["clicks"] > 1}
    if not cases:
        return ""
    lines = [
        "### Many clicks",
        "",
        "Milliseconds until the mask after so many clicks is there, the opening of the photo not counted.",
        "",
        "| network, place, size | | clicks: milliseconds | evaluations | satisfied at the end |",
        "|---|---|---|---|---|",
    ]
    for name, case in cases.items():
        for who, row in case["contestants"].items():
            times = ", ".join(f"{k}: {_ms(spread['median'])}" for k, spread in row["after"].items())
            made = len(case["script"])
            lines.append(
                f"| {name} | {who} | {times} | {sum(row['evaluations'])} | {row['satisfied_at_the_end']} of {made} |"
            )
    return "\n".join(lines)


def _objects(results: Results) -> str:
    if not results["objects"]:
        return ""
    lines = [
        "### Many objects in one photo",
        "",
        "Milliseconds for all objects, one click each, the opening of the photo counted; for the others, how many "
        "times as long.",
        "",
        "| network, place, size, objects | one batch | this library, one by one | SciPy, one by one "
        "| pixels unlike alone |",
        "|---|---|---|---|---|",
    ]
    for name, case in results["objects"].items():
        ratios = [
            f"× {ratio['median']:.2f} ({ratio['q1']:.2f}–{ratio['q3']:.2f})" for ratio in case["times_batch"].values()
        ]
        batch = case["seconds"][OURS]
        lines.append(
            f"| {name.removeprefix('objects ')} | {_ms(batch['median'])} ({_ms(batch['q1'])}–{_ms(batch['q3'])}) | "
            f"{' | '.join(ratios)} | {case['pixels_unlike_alone']} |"
        )
    return "\n".join(lines)


def _first(results: Results) -> str:
    if not results["first"]:
        return ""
    lines = [
        "### The first click",
        "",
        "Milliseconds to open a photo and make the first click, the network just wrapped (wrapping not counted), and "
        "then on another shape, against SciPy on the whole network, with the evaluations of both, and the ratio if it "
        "had made as many as this library.",
        "",
        "| network, place, size | | this library | SciPy, whole | ratio | evaluations | at as many | wrapping |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, case in results["first"].items():
        for shape, row in case["shapes"].items():
            times = " | ".join(_ms(spread["median"]) for spread in row["seconds"].values())
            counts = " and ".join(str(count) for count in row["evaluations"].values())
            ratio, alike, wrapping = row["ratio"], row["ratio_alike"], _ms(case["wrapping"]["median"])
            lines.append(
                f"| {name.removeprefix('first ')} | {shape} | {times} | "
                f"{ratio['median']:.2f} ({ratio['q1']:.2f}–{ratio['q3']:.2f}) | {counts} | "
                f"{alike['median']:.2f} ({alike['q1']:.2f}–{alike['q3']:.2f}) | {wrapping} |"
            )
    return "\n".join(lines)
