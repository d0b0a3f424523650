"""Check the invariants of every architecture: `python -m benchmarks.support` writes docs/support.md and JSON.

With random weights: the check shows whether the library works with a network's structure, not the network's quality.
Each is checked in a process of one thread, with a limit of seconds and of parameters. A stopped run resumes, and
earlier results are kept, unless `--again` repeats them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from timm.models import model_entrypoint
from torch import nn
from torchvision.models import segmentation
from tqdm import tqdm

from benchmarks.architectures import timm_cnns, timm_others
from benchmarks.invariants import Finding, checked
from benchmarks.smp_architectures import smp_pairs
from benchmarks.support_report import write
from benchmarks.transformers_architectures import transformers_architectures

RESULTS = Path(__file__).parent / "results" / "support.jsonl"
KINDS = ("torchvision", "transformers", "smp", "timm", "tu", "timm-others")
TORCHVISION = (
    *("deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "deeplabv3_resnet101", "fcn_resnet50", "fcn_resnet101"),
    "lraspp_mobilenet_v3_large",
)
_ABOVE = "above the limit"
_JOBS_PER_PROCESS = 40  # a new process frees memory that packages keep


@dataclass(frozen=True)
class Job:
    """One network to check, named so that another process can build it."""

    kind: str
    name: str
    family: str

    @property
    def key(self) -> str:
        return f"{self.kind} {self.name}"


def jobs(kind: str) -> Iterator[Job]:
    """All networks of a kind, always in the same order."""
    if kind == "torchvision":
        yield from (Job(kind, name, name.partition("_")[0]) for name in TORCHVISION)
    elif kind == "transformers":
        yield from (Job(kind, name, "transformers") for name in transformers_architectures())
    elif kind == "smp":
        yield from (Job(kind, f"{architecture}/{encoder}", architecture) for architecture, encoder in smp_pairs())
    else:
        names = timm_others() if kind == "timm-others" else timm_cnns()
        prefix = "unet/tu-" if kind == "tu" else ""
        modules = {name: model_entrypoint(name).__module__.rpartition(".")[2] for name in names}
        yield from (Job(kind, f"{prefix}{name}", modules[name]) for name in names)


def build(job: Job) -> Callable[[], nn.Module]:
    """A function that builds a job's network with random weights."""
    if job.kind == "torchvision":
        return lambda: getattr(segmentation, job.name)(weights=None, weights_backbone=None)
    if job.kind == "transformers":
        return transformers_architectures()[job.name]
    if job.kind in ("smp", "tu"):
        architecture, _, encoder = job.name.partition("/")
        return lambda: smp.create_model(architecture, encoder, encoder_weights=None)
    return lambda: timm.create_model(job.name, pretrained=False)


def _work(connection: Connection, limit: float) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    while (job := connection.recv()) is not None:
        count = _parameters(job)
        if count > limit:
            connection.send(Finding(f"{count / 1e6:.0f} M parameters, {_ABOVE} of {limit / 1e6:.0f} M", count, 0.01))
        else:
            connection.send(checked(build(job)))


def _parameters(job: Job) -> int:
    """The number of weights, without allocating them; 0 if it is unknown, or known to be small."""
    if job.kind != "timm-others":
        return 0
    try:
        with torch.device("meta"):
            return sum(p.numel() for p in build(job)().parameters())
    except Exception:  # not every network can be built without its weights
        return 0


@dataclass
class _Worker:
    """A process with at most one job, which it got at the time `since`."""

    process: Any
    connection: Connection
    job: Job | None = None
    since: float = 0.0
    done: int = 0

    @classmethod
    def started(cls, limit: float) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, limit), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def sweep(waiting: list[Job], workers: int, seconds: float, parameters: float) -> Iterator[tuple[Job, Finding]]:
    """Check all jobs; one that takes longer, or whose process dies, is yielded with that as its reason."""
    waiting = list(reversed(waiting))
    pool = [_Worker.started(parameters) for _ in range(min(workers, len(waiting)))]
    while waiting or any(worker.job for worker in pool):
        for index, worker in enumerate(pool):
            if worker.job is None and waiting:
                if worker.done >= _JOBS_PER_PROCESS:
                    worker.stop()
                    pool[index] = worker = _Worker.started(parameters)
                worker.job, worker.since = waiting.pop(), time.monotonic()
                worker.connection.send(worker.job)
        wait([worker.connection for worker in pool if worker.job], timeout=1.0)
        for index, worker in enumerate(pool):
            if worker.job is None:
                continue
            late = time.monotonic() - worker.since > seconds
            if not worker.connection.poll() and not late:
                continue
            try:
                finding = worker.connection.recv() if worker.connection.poll() else None
            except EOFError:
                finding = Finding("the process died, probably without memory")
            job, worker.job, worker.done = worker.job, None, worker.done + 1
            if finding is None:
                finding = Finding(f"took longer than {seconds:.0f} s on one core", seconds=seconds)
            if finding.seconds == 0.0 or late:
                worker.stop()
                pool[index] = _Worker.started(parameters)
            yield job, finding
    for worker in pool:
        worker.stop()


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The results so far, by job: those in support.json, and this file's lines; the last one counts."""
    summary = path.with_suffix(".json")
    entries = json.loads(summary.read_text(encoding="utf-8"))["networks"] if summary.exists() else []
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries += [json.loads(line) for line in lines if line.strip()]
    return {f"{entry['kind']} {entry['name']}": entry for entry in entries}


def versions() -> dict[str, str]:
    """The versions of all packages that the results depend on."""
    packages = ("interactify", "torch", "torchvision", "timm", "segmentation-models-pytorch", "transformers")
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except ImportError:
            continue
    return found


def main() -> None:
    """Check the chosen networks, and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kinds", nargs="+", default=list(KINDS[:-1]), choices=KINDS, metavar="KIND", help=", ".join(KINDS)
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="only names that contain one of these")
    parser.add_argument("--again", choices=("failures", "all"), help="repeat earlier checks")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--parameters", type=float, default=1.5e9, help="limit for one network, where it is known")
    parser.add_argument("--seconds", type=float, default=240, help="limit for one network")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON lines; each result is appended at once")
    parser.add_argument("--report", action="store_true", help="only write the pages from the results")
    given = parser.parse_args()
    if not given.report:
        known = read(given.results)
        wanted = [job for kind in given.kinds for job in jobs(kind)]
        wanted = [job for job in wanted if not given.only or any(text in job.name for text in given.only)]
        redo = {"failures": lambda job: known[job.key]["reason"], "all": lambda job: True}.get(
            given.again, lambda job: False
        )
        wanted = [job for job in wanted if job.key not in known or redo(job)]
        given.results.parent.mkdir(exist_ok=True)
        with given.results.open("a", encoding="utf-8") as file, tqdm(total=len(wanted), unit="network") as progress:
            for job, finding in sweep(wanted, given.workers, given.seconds, given.parameters):
                progress.update()
                if _ABOVE in finding.reason:  # a network that was not run neither works nor fails
                    continue
                entry = {**asdict(job), **asdict(finding), "date": date.today().isoformat()}
                file.write(json.dumps(entry) + "\n")
                file.flush()
                if finding.reason:
                    progress.write(f"{job.key}: {finding.reason}")
    write(list(read(given.results).values()), versions())


if __name__ == "__main__":
    main()
