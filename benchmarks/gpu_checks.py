"""Whether a GPU gives what the processor gives: the tests marked gpu, CUDA graphs, reduced precision, families.

Each function measures one part of `python -m benchmarks.gpu`. "holds" says whether all is as it has to be; the numbers
beside it say by how much, and "within" which differences count as rounding.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import interactify
from benchmarks import speed_cuts
from benchmarks.invariants import built, checked
from benchmarks.speed_cases import play, script
from benchmarks.speed_contestants import Ours, Outcome
from benchmarks.speed_cuts import BUILDERS, photo_of, spread_logits
from benchmarks.support import Job, build
from benchmarks.timed_parts import Found
from interactify.evaluation.timing import Clock, allocation, paired, spread
from interactify.runtime.cuda_graphs import CudaGraph
from interactify.runtime.executor import off_by, tolerance_of
from interactify.runtime.suffix import Suffix
from interactify.runtime.tape import Tape

ROOT = Path(__file__).parent.parent
_OUTCOME = re.compile(r"^(\S+?::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")
_REASON = re.compile(r"^(?:FAILED|ERROR) (\S+?::.+?) - (.+)$")

# The mean IoU with the masks of float32, over all clicks, from which on another precision gives the same masks. TF32
# and float16 keep 10 bits of mantissa, bfloat16 7.
SAME_IOU = {"TF32 in convolutions": 0.95, "TF32 everywhere": 0.95, "float16": 0.95, "bfloat16": 0.9, "cpu": 0.98}
_SLACK = 0.01  # of IoU, between graphs and steps beyond what lies between steps and steps


def network(name: str, size: int, device: str) -> nn.Module:
    """One of the speed benchmark's networks, or a pair of smp such as "FPN/efficientnet-b0" with random weights."""
    if name in BUILDERS:
        return speed_cuts.built(name, size, device)
    with torch.random.fork_rng(devices=[]):
        model = built(build(Job("smp", name, ""))).requires_grad_(False)
    spread_logits(model, photo_of((size, size)))
    return model.to(device)


def variables_at(point: str) -> str:
    """The name of the variables for the speed benchmark's points: "input", "A", "B", "C"."""
    return "input" if point == "input" else f"scale_bias@{point}"


# ---- the tests -------------------------------------------------------------------------------------------------------


def marked_files() -> list[str]:
    """The files with tests that are marked gpu: the others would only be imported, and that takes longer than these."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in paths if "pytest.mark.gpu" in path.read_text(encoding="utf-8")]


def tests_marked_gpu(seconds: float, files: Sequence[str] | None = None) -> Found:
    """Run them in a process of their own; what had an outcome when the seconds are over is kept."""
    command = [sys.executable, "-m", "pytest", "-v", "--tb=no", "-p", "no:cacheprovider", "-m", "gpu"]
    # Plugins that happen to be installed are not needed, and some take seconds to load.
    environment = {**os.environ, "COLUMNS": "400", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*command, *(marked_files() if files is None else files)],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        try:
            ended: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            ended = None
        output.seek(0)
        return read_outcomes(output.read().splitlines(), ended)


def read_outcomes(lines: Sequence[str], exit_code: int | None) -> Found:
    """What `pytest -v` printed, with its exit code, None if it did not end in time: outcomes, and why tests failed."""
    outcomes = {found[1]: found[2] for line in lines if (found := _OUTCOME.match(line))}
    reasons = {found[1]: found[2] for line in lines if (found := _REASON.match(line))}
    failed = {name: reasons.get(name, outcome) for name, outcome in outcomes.items() if outcome in ("FAILED", "ERROR")}
    counts = Counter(outcomes.values())
    said = ", ".join(f"{count} {outcome.lower()}" for outcome, count in counts.most_common()) or "no test was run"
    return {
        "counts": counts,
        "failed": failed,
        "exit_code": exit_code,
        "last_lines": [] if exit_code == 0 else lines[-5:],
        "holds": exit_code == 0 and counts["PASSED"] > 0,
        "in_short": said + ("" if exit_code is not None else ", and then the time was over"),
    }


# ---- CUDA graphs -----------------------------------------------------------------------------------------------------


def graphs(name: str, point: str, size: int, device: str, clicks: int = 8, times: int = 20) -> Found:
    """Replayed graphs against the same tape step by step, and sessions with graphs against sessions without."""
    model = network(name, size, device)
    passes = _graph_against_tape(model, point, size, device, times)
    sessions = _sessions_with_and_without(model, point, size, device, clicks)
    if "reason" in passes:
        short = f"no graph: {passes['reason']}"
    else:
        bits = "to the last bit" if passes["equal"] else f"within {max(passes['logits'], passes['gradient']):.1e}"
        short = f"equal {bits}, a pass × {passes['times_faster']['median']:.2f}"
    short += f", a click × {sessions['times_faster']:.2f} ({sessions['with']}), IoU ≥ {min(sessions['iou']):.4f}"
    holds = passes["holds"] and sessions["holds"]
    return {"passes": passes, "sessions": sessions, "holds": holds, "in_short": short}


def _graph_against_tape(model: nn.Module, point: str, size: int, device: str, times: int) -> dict[str, Any]:
    clock = Clock(device)
    net = Ours(model, variables_at(point), size).net
    photos = [photo_of((size, size), name) for name in ("cat", "coffee")]
    sessions = [net.session(photo) for photo in photos]  # they hold the tapes
    suffixes = [session.initial_step.crop.suffix for session in sessions]
    tapes = [suffix.lowered_tape or suffix.recorded_tape for suffix in suffixes]
    if tapes[0] is None or tapes[1] is None:
        return {"holds": True, "reason": suffixes[0].whole or suffixes[1].whole or "no tape"}
    pointers = net.runtime.pointers()
    peak, kept, (seconds, graph) = allocation(
        lambda: clock(lambda: CudaGraph(_tape(suffixes[0]), suffixes[0].start, pointers)), device
    )
    offs: list[dict[str, float]] = []
    equal = True
    for turn, which in enumerate((0, 1, 0)):  # another photo in the same graph, and the first one again
        tape, values = _tape(suffixes[which]), _somewhere(suffixes[which], turn)
        replayed = _with_gradient(lambda at, tape=tape: graph(tape, at), values)  # type: ignore[misc]
        steps, again = _with_gradient(tape, values), _with_gradient(tape, values)
        equal &= all(torch.equal(a, b) for a, b in zip(replayed, steps, strict=True))
        offs.append({**_off(replayed, steps), **{f"{key}_of_steps": off for key, off in _off(again, steps).items()}})
    within = tolerance_of(suffixes[0].start.dtype, net.network.autocast, suffixes[0].start.device)
    most = {key: max(off[key] for off in offs) for key in offs[0]}
    values = _somewhere(suffixes[0], 0)
    runs: dict[str, list[float]] = {"graph": [], "steps": []}
    for _ in range(times):
        runs["graph"].append(clock(lambda: _with_gradient(lambda at: graph(_tape(suffixes[0]), at), values))[0])
        runs["steps"].append(clock(lambda: _with_gradient(_tape(suffixes[0]), values))[0])
    return {
        "holds": most["logits"] <= within and most["gradient"] <= max(0.05, within),
        "equal": equal,
        **most,
        "within": within,
        "capture_seconds": seconds,
        "capture_bytes": {"peak": peak, "kept": kept},
        "seconds": {way: spread(values) for way, values in runs.items()},
        "times_faster": paired(runs["steps"], runs["graph"]),
    }


def _tape(suffix: Suffix) -> Tape:
    tape = suffix.lowered_tape or suffix.recorded_tape
    assert tape is not None
    return tape


def _somewhere(suffix: Suffix, seed: int) -> Tensor:
    """Values away from the start, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return 0.02 * torch.randn(suffix.start.shape, generator=generator).to(suffix.start)


def _with_gradient(run: Callable[[Tensor], Tensor], values: Tensor) -> tuple[Tensor, Tensor]:
    at = values.clone().requires_grad_(True)
    logits = run(at)
    (gradient,) = torch.autograd.grad(logits.square().sum(), at)
    return logits.detach(), gradient


def _off(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Logits by their largest difference, gradients by their norm: a ReLU may be decided by the last digit."""
    norm = float((found[1] - expected[1]).norm() / expected[1].norm().clamp(min=1e-12))
    return {"logits": off_by(found[0], expected[0]), "gradient": norm}


def _sessions_with_and_without(model: nn.Module, point: str, size: int, device: str, clicks: int) -> dict[str, Any]:
    clock, photo = Clock(device), photo_of((size, size))
    ways = {graphs: Ours(model, variables_at(point), size, cuda_graphs=graphs) for graphs in (False, True)}
    chosen = script(ways[False], photo, clicks)
    for way in ways.values():
        play(way, photo, chosen, clock)  # the graphs are captured here
    again, without, replayed = (play(ways[graphs], photo, chosen, clock) for graphs in (False, False, True))
    found = _compared(replayed.outcomes, without.outcomes)
    # Backward passes on a GPU add in an order that changes from run to run: so do masks, a little, without graphs too.
    steps = _compared(again.outcomes, without.outcomes)
    how = ways[True].net.runtime.executor.text(device.partition(":")[0]) or "step by step"
    return {
        **found,
        "holds": float(np.mean(found["iou"])) >= float(np.mean(steps["iou"])) - _SLACK and found["satisfied_alike"],
        "within": f"mean IoU at most {_SLACK} below that of two runs step by step, the same clicks satisfied",
        "steps_twice": steps,
        "with": how,
        "seconds": {"with": replayed.seconds, "without": without.seconds},
        "times_faster": sum(without.seconds) / sum(replayed.seconds),
    }


def _compared(found: Sequence[Outcome], expected: Sequence[Outcome]) -> dict[str, Any]:
    """What the same clicks give in two ways, after each click."""
    return {
        "iou": [round(_iou(a.mask, b.mask), 6) for a, b in zip(found, expected, strict=True)],
        "satisfied_alike": all(a.satisfied == b.satisfied for a, b in zip(found, expected, strict=True)),
        "satisfied": sum(sum(outcome.satisfied) for outcome in found),
        "evaluations": [outcome.evaluations for outcome in found],
    }


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


# ---- precision -------------------------------------------------------------------------------------------------------


@contextmanager
def tf32(convolutions: bool, products: bool) -> Iterator[None]:
    """Whether torch rounds to TF32 on this device, which it does in convolutions and not in products by default."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def precision(
    name: str, point: str, size: int, device: str, clicks: int = 5, photos: Sequence[str] = ("cat",)
) -> Found:
    """The same clicks in every precision, compared with float32 without TF32 on the device; and float32 on the CPU.

    The simulated user chose the clicks by the masks of float32.
    """
    model = network(name, size, device)
    ways: dict[str, tuple[nn.Module, str, tuple[bool, bool]]] = {
        "float32": (model, "float32", (False, False)),
        "TF32 in convolutions": (model, "float32", (True, False)),
        "TF32 everywhere": (model, "float32", (True, True)),
        "float16": (model, "float16", (True, False)),
        "bfloat16": (model, "bfloat16", (True, False)),
        "cpu": (network(name, size, "cpu"), "float32", (False, False)),
    }
    if not device.startswith("cuda"):  # a processor has no TF32, and takes far longer in float16
        ways = {way: ways[way] for way in ("float32", "bfloat16")}
    opened = [photo_of((size, size), photo) for photo in photos]
    scripts: list[list[interactify.Click]] = []
    outcomes: dict[str, list[Outcome]] = {}
    seconds: dict[str, float] = {}
    for way, (of, kind, switches) in ways.items():
        clock = Clock("cpu" if way == "cpu" else device)
        with tf32(*switches):
            ours = Ours(of, variables_at(point), size, precision=kind)
            scripts = scripts or [script(ours, photo, clicks) for photo in opened]
            if way != "cpu":  # warms it up
                play(ours, opened[0], scripts[0], clock)
            played = [play(ours, photo, chosen, clock) for photo, chosen in zip(opened, scripts, strict=True)]
        outcomes[way] = [outcome for each in played for outcome in each.outcomes]
        seconds[way] = median(value for each in played for value in each.seconds)
    rows = {way: _compared(found, outcomes["float32"]) for way, found in outcomes.items()}
    asked = rows["float32"]["satisfied"]
    for way, row in rows.items():
        row["seconds_per_click"], row["within"] = seconds[way], SAME_IOU.get(way, 1.0)
        row["least_iou"], row["mean_iou"] = min(row["iou"]), float(np.mean(row["iou"]))
        row["holds"] = row["mean_iou"] >= row["within"] and row["satisfied"] >= asked
        row["times_faster"] = seconds["float32"] / seconds[way]
    return {
        "clicks": [[click.to_json() for click in chosen] for chosen in scripts],
        "ways": rows,
        "holds": all(row["holds"] for row in rows.values()),
        "in_short": "; ".join(
            f"{way}: IoU {row['mean_iou']:.3f} (≥ {row['least_iou']:.3f}), {row['satisfied']} of {asked} "
            f"satisfied, × {row['times_faster']:.2f}"
            for way, row in rows.items()
            if way != "float32"
        ),
    }


# ---- families of networks --------------------------------------------------------------------------------------------


def family(kind: str, name: str, device: str) -> Found:
    """All invariants of the support tables, with a network of this family on the device, without TF32."""
    with tf32(False, False):
        finding = checked(build(Job(kind, name, "")), device)
    found = asdict(finding)
    adapter = finding.found.get("adapter", "no adapter")
    said = finding.reason or f"every invariant, {adapter}, {finding.parameters / 1e6:.1f} M parameters"
    return {**found, "holds": not finding.reason, "in_short": said}
