"""The tables of a speed benchmark, and docs/speed.md: every number in its tables comes from a JSON of results."""

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

The time of a click, measured by `python -m benchmarks.speed`. The same command writes this page (`--page`): no number
in the tables is typed by hand, and cases in which this library is slower are shown too. There is one section for each
machine: [the results](#results) begin below the method.

## Method

**Contestants**, on the same network, photo and clicks, in one run:

- *this library*, by its public API: `session.click(…)` until `result.mask` is computed;
- *SciPy, whole*: the published way. `scipy.optimize.fmin_l_bfgs_b` on the host with float64 vectors (m = 20, factr =
  0, pgtol = 1e-8, as in f-BRS's released code). Each evaluation runs the whole network, and a hook inserts the
  variables;
- *SciPy, head*: the same in the way of f-BRS. The features before the variables are computed once for each photo, and
  an evaluation runs only the rest of the network, which is cut by hand for each network;
- *torch.optim*, whole and head: `torch.optim.LBFGS` (strong Wolfe line search, history of 20) instead of SciPy.

All minimise the same energy (squared hinge on the clicked logits, margin 3, aim 4, inertia 1e-3) of the network's own
map. All start where the last click ended, skip the backward pass of the evaluation that reaches the goal, and stop
after 40 evaluations. None computes gradients for weights. At the input there are no features to keep, so there is no
head. The contestants share no code with the library except the photos and the clicks. A test checks that they run the
same network, and every run checks that they agree about the clicks.

Propagation is off (`propagation="none"`). On the two CPU cores below, following colours and edges takes 2.5 ms more
for each click at 288² and 50 ms at 1024², and 2.5 and 160 ms for each new view of a photo.

**Networks**: smp's Unet/ResNet-34 and DeepLabV3+/ResNet-50 with random weights, and the embedded network. The last
layer of random weights is scaled for each size, so that the logits have a standard deviation of 2 and clicks have
errors to correct. **Variables**: the input, and scale and bias at f-BRS's A, B and C, where `describe()` finds them.
**Clicks** come from the simulated user, whose object is an ellipse in the middle. The user looks at the masks of one
of the other contestants, and all contestants get the same clicks.

**Timing**: each contestant plays a case at least twice to warm up. Then all take turns in each repetition, in a
different order each time. Times are medians with quartiles. Ratios are medians of the ratios within a repetition, so
a slowdown of a whole repetition cancels out. A case is repeated at least 5 times (3 at 512², 2 at 1024²), then up to
25 times until 20 seconds have passed. A GPU is synchronised before the clock is read.

**Other figures**:

- *overhead*: seconds of a click ÷ (evaluations × seconds of one forward and backward pass of the part that depends on
  the variables). This part is cut by hand and run without energy or solver in the same repetition: the *bare* part.
  The evaluation that ends a click has no backward pass, so less than 1 is possible. *Per pass run* counts only the
  forward and backward passes that were run.
- *operations*: floating-point operations of the clicks by `FlopCounterMode` ÷ those of the bare part for the same
  number of passes. It is less than 1 if a click continued from the last pass of the click before, or of the opening.
  On a GPU the counter does not see replayed graphs, and the column is empty.
- *share of peak*: operations of the bare part for the same number of passes ÷ seconds ÷ the fastest float32 matrix
  product measured on the device (2048³ and 4096³). More than 100 % is possible if a convolution needs fewer
  operations than are counted, or is better tuned than the product.
- *memory*: the highest additional memory during a click ÷ that of one bare forward and backward pass. In brackets,
  the same with everything that is kept for the network and the photo added on both sides. It is measured on the CPU
  by the profiler's record of each allocation, on a GPU by its allocator.

## A GPU, in one command

`python -m benchmarks.gpu` measures, within nine minutes and in the order of worth, what only a GPU can show:

1. whether it is right: the tests marked `gpu`; CUDA graphs against the same pass step by step, on several networks; the
   same clicks in float32, TF32, float16, bfloat16 and on the processor (IoU of the masks, clicks satisfied);
2. a click at the input and at B, 512² and 1024², against the contestants above in the same run;
3. 32 objects at once; 4. the memory of a click; 5. networks of smp, timm and torchvision on the device;
6. `Predictor` on frames of 1280 × 720 pixels.

Each part is in the JSON (`--out`, by default in `benchmarks/results/`) as soon as it is done. A part for which the time
is too short is left out and named, and the same command again goes on with what is missing. `--minutes` changes the
limit, `--only TEXT` and `--list` choose and show parts, and `--tiny --device cpu` shows without a GPU that it runs. It
ends with 1 if a part failed or a check does not hold.
"""
NOTHING = "\n## Results\n\nThere are no results here yet: `python -m benchmarks.speed` measures them on your machine.\n"


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
    """Write the method, and below it the newest results of each kind of device."""
    found = newest(folder)
    if not found:
        page.write_text(METHOD + NOTHING, encoding="utf-8")
        return
    short = "\n".join(f"- **{_device(results)}**: {_in_short(results)}" for results in found)
    parts = [summary(results) for results in found]
    page.write_text(f"{METHOD}\n## Results\n\n{short}\n\n" + "\n".join(parts), encoding="utf-8")


def summary(results: Results) -> str:
    """All tables of a run, as Markdown."""
    parts = [_machine(results), _goals(results), _clicks(results), _after(results), _objects(results), _first(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _device(results: Results) -> str:
    here = results["machine"]
    return here.get("gpu") or f"{here['processor']}, {here['cores']} cores, {_threads(here)}"


def _threads(here: dict[str, Any]) -> str:
    return f"{here['threads']} thread{'s' if here['threads'] > 1 else ''}"


def _in_short(results: Results) -> str:
    """The medians that answer how long a click takes, as sentences."""
    cases = list(results["clicks"].values())
    at_input = [case for case in cases if case["case"]["point"] == "input"]
    inside = [case for case in cases if case["case"]["point"] != "input"]
    parts = []
    size = min((case["case"]["size"] for case in at_input), default=0)
    times = [
        f"{_ms(case['contestants'][OURS]['per_click']['median'])} ms for {_network(case['case']['network'])}"
        for case in at_input
        if case["case"]["size"] == size and case["case"]["clicks"] == 1
    ]
    if times:
        parts.append(f"At the input, a click at {size} × {size} pixels takes {', '.join(times)}.")
    if at_input:
        parts.append(f"This is {_compared(_ratios(at_input, WHOLE))} SciPy on the whole network (median of all sizes).")
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


def _machine(results: Results) -> str:
    here = results["machine"]
    versions = ", ".join(f"{name} {here[name]}" for name in ("interactify", "torch", "scipy", "numpy"))
    host = ""
    if here.get("gpu"):
        host = f"; its processor is {here['processor']}, {here['cores']} cores, {_threads(here)}"
    cuda = f", CUDA {here['cuda']}" if here.get("cuda") else ""
    quick = " This is a quick run: it only shows that the benchmark works." if results["quick"] else ""
    return (
        f"## On {_device(results)}\n\nThe machine has {here['memory_gib']:g} GiB of memory{host}. Versions: Python "
        f"{here['python']}, {versions}{cuda}. Date: {here['date']}. The fastest float32 matrix product reaches "
        f"{results['peak'] / 1e9:.4g} Gflop/s.{_tf32(results)}{quick}"
    )


def _tf32(results: Results) -> str:
    """Why a GPU's convolutions round differently in a batch."""
    if not results["machine"].get("tf32", {}).get("convolution"):
        return ""
    return (
        " Convolutions run in TF32, PyTorch's default on this device: 10 bits of mantissa, and different rounding for "
        "a different number of objects in a batch."
    )


def _goals(results: Results) -> str:
    """The aims, and the median and the worst case of each."""
    cases = list(results["clicks"].values())
    inside = [case for case in cases if case["case"]["point"] != "input"]
    at_input = [case for case in cases if case["case"]["point"] == "input"]
    batches = [case for case in results["objects"].values() if case["case"]["objects"] >= 16]
    cuda = results["machine"]["device"].startswith("cuda")
    # CUDA graphs hold their memory from the start, so on a GPU it counts as kept memory.
    memory = "ratio_with_kept" if cuda else "ratio"
    rows = [
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
            f"memory of a click ÷ one bare pass{', with kept memory' if cuda else ''}",
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


def _clicks(results: Results) -> str:
    if not results["clicks"]:
        return ""
    lines = [
        "### One click",
        "",
        "Milliseconds (quartiles) and evaluations of a click. The other contestants: their time ÷ the time of this "
        "library, and their evaluations.",
        "",
        "| network, variables, size | this library | SciPy, head | SciPy, whole | torch, head | torch, whole "
        "| overhead (per pass run) | operations | share of peak | memory |",
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
        lines += ["", f"These disagree with this library about which clicks are satisfied: {'; '.join(apart)}."]
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
        "Milliseconds until the mask after the given number of clicks, without the opening of the photo.",
        "",
        "| network, variables, size | | clicks: milliseconds | evaluations | satisfied at the end |",
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
        "Milliseconds to open a photo and make the first click: with a network that was just wrapped (without the time "
        "of wrapping), then with a photo of another shape. The ratio is this library ÷ SciPy on the whole network. The "
        "evaluations are those of both; the next column is the ratio at the same number of evaluations.",
        "",
        "| network, variables, size | | this library | SciPy, whole | ratio | evaluations | at as many | wrapping |",
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
