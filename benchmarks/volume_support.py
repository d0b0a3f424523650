"""Check networks of volumes: `python -m benchmarks.volume_support` writes docs/volume-networks.md and JSON.

With random weights: the check shows whether the library works with a network's structure, not the network's quality.
Each is wrapped with each kind of variables and answers a positive and a negative click; and a volume that is larger
than what the network sees at once is opened in windows and clicked. A check that fails is named with its reason.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from benchmarks.invariants import Unbuildable, built
from benchmarks.speed_measure import machine
from benchmarks.volume_architectures import PACKAGES, volume_architectures
from interactify.adapters import knowledge_of
from interactify.errors import InteractifyError, OptionError
from interactify.inspection.image_sizes import multiple_of
from interactify.inspection.outputs import resized, to_logits
from interactify.network.targets import target_logit
from interactify.volumes import VolumeSession

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "volume-support.json", ROOT / "docs" / "volume-networks.md"
VARIABLES: Final = ("input", "maps", "kernels", "scale_bias@A", "bias_field@A")
SIDE: Final = 32
SIDES: Final = {"MONAI SwinUNETR": 64}  # instance norms need more than one voxel at the deepest layer
EVALUATIONS: Final = 30


@dataclass
class Finding:
    """What came out for one network.

    Attributes:
        reason: why it does not work at all; empty where it is wrapped.
        identity: the largest difference to the unwrapped network before a click, and the largest of its logits.
        satisfied: of the positive and the negative click, by the kind of variables; a reason where one failed.
        windows: whether a click in one of several windows is satisfied and leaves the rest; or the reason.
        found: stem, classes, divisor, layers, which output.
    """

    name: str
    reason: str = ""
    parameters: int = 0
    seconds: float = 0.0
    identity: float = -1.0
    satisfied: dict[str, str] = field(default_factory=dict)
    windows: str = ""
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Whether every check holds."""
        answers = [*self.satisfied.values(), self.windows]
        return not self.reason and self.identity == 0 and all(each == "yes" for each in answers)


def checked(name: str, build: Callable[[], nn.Module]) -> Finding:
    """Build a network and check it."""
    finding, started = Finding(name), time.perf_counter()
    try:
        model = built(build)
        finding.parameters = sum(each.numel() for each in model.parameters())
        _check(model, finding)
    except Unbuildable as cause:
        finding.reason = str(cause)
    except Exception as cause:  # the sweep continues, with this as the reason
        finding.reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
    finding.seconds = round(time.perf_counter() - started, 1)
    return finding


def _check(model: nn.Module, finding: Finding) -> None:
    side = SIDES.get(finding.name, SIDE)
    for variables in VARIABLES:
        try:
            net = _wrapped(model, variables, side)
        except OptionError as cause:  # fewer insertion points
            if variables in ("input", "maps", "kernels"):
                raise
            finding.satisfied[variables] = f"refused: {cause}"[:160]
            continue
        volume = _volume(net.spec.channels, side)
        if variables == VARIABLES[0]:
            finding.identity = _difference(model, net, volume)
            finding.found = _facts(net)
        try:
            finding.satisfied[variables] = _clicked(net, volume)
        except InteractifyError as cause:
            finding.satisfied[variables] = f"{type(cause).__name__}: {cause}"[:200]
    try:
        finding.windows = _in_windows(model, side)
    except InteractifyError as cause:
        finding.windows = f"{type(cause).__name__}: {cause}"[:200]


def _wrapped(model: nn.Module, variables: str, side: int) -> interactify.Interactive:
    return interactify.wrap(model, variables=variables, mean=0, std=1, resolution=side, max_evaluations=EVALUATIONS)


def _opened(net: interactify.Interactive, volume: Tensor) -> VolumeSession:
    session: Any = net.session(volume, target=0 if net.spec.output.classes > 2 else None)
    assert isinstance(session, VolumeSession)
    return session


def _volume(channels: int, side: int) -> Tensor:
    """(C, D, H, W) smooth noise, the same each time."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, channels, 6, 6, 6, generator=generator)
    fine = 0.3 * torch.randn(channels, side, side, side, generator=generator)
    return F.interpolate(coarse, size=(side,) * 3, mode="trilinear")[0] + fine


def _difference(model: nn.Module, net: interactify.Interactive, volume: Tensor) -> float:
    """The largest difference before a click between the shown log-odds and the unwrapped network's."""
    session, output = _opened(net, volume), net.spec.output
    forward = knowledge_of(model).forward
    with torch.no_grad():
        image = session.refiner.whole_patch.image
        raw = model(image.clone()) if forward is None else forward(model, image.clone())
        own = target_logit(
            to_logits(output, raw), session.refiner.initial_step(session.target).target, output.activation
        )
        own = resized(own, tuple(image.shape[2:]))[0, 0]
    shown = session.result.displayed.first
    inside = session.refiner.grid.windows()[0]
    z, y, x = (slice(-first, -first + side) for first, side in zip(inside.start, shown.shape, strict=True))
    return float((own[z, y, x] - shown).abs().max())


def _clicked(net: interactify.Interactive, volume: Tensor) -> str:
    """Whether a positive and a negative click, at voxels of the other label, are both satisfied: yes, or why not."""
    side = volume.shape[-1]
    inner = slice(side // 4, 3 * side // 4)
    answers = []
    with _opened(net, volume) as session:
        for positive in (True, False):
            session.reset()
            odds = torch.from_numpy(session.result.probability.copy())[inner, inner, inner]
            odds = odds if positive else 1 - odds
            other = torch.where(odds < 0.5, odds, -1.0).flatten()  # of the other label, the least sure
            at = int(other.argmax())
            if other[at] < 0:
                answers.append("nothing to correct")
                continue
            n = odds.shape[0]
            z, y, x = (each + side // 4 for each in (at // (n * n), at // n % n, at % n))
            result = session.click(x, y, z, positive)
            answers.append(
                "" if result.satisfied else f"{'positive' if positive else 'negative'} click: {result.status}"
            )
    return "; ".join(filter(None, answers)) or "yes"


def _in_windows(model: nn.Module, side: int) -> str:
    """Whether a click in a volume of eight windows is satisfied, and the mask far from it stays: yes, or why not."""
    net = _wrapped(model, "input", side)
    seen = multiple_of(side, net.spec.divisor)
    volume = _volume(net.spec.channels, seen * 3 // 2)
    with _opened(net, volume) as session:
        if session.refiner.grid.is_whole:
            return "seen whole"
        before = session.result.mask
        at = 6
        result = session.click(at, at, at, positive=not before[at, at, at])
        if not result.satisfied:
            return f"click: {result.status}"
        changed = result.mask != before
        return "yes" if not changed[seen:].any() and not changed[:, :, seen:].any() else "changed far from the click"


def _facts(net: interactify.Interactive) -> dict[str, Any]:
    spec = net.spec
    return {
        "stem": [call.module for call in spec.stem],
        "classes": spec.output.classes,
        "activation": spec.output.activation,
        "output": spec.output.name,
        "divisor": spec.divisor,
        "points": {letter: layer.name for letter, layer in spec.insertion_points().items()},
        "adapter": spec.family,
    }


def versions() -> dict[str, str]:
    """Of the packages that the networks come from, as far as they are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def page(results: dict[str, Any]) -> str:
    """docs/volume-networks.md."""
    networks = [Finding(**entry) for entry in results["networks"]]
    packages = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    made = results["machine"]
    lines = [
        "# Which networks of volumes work",
        "",
        "This page is written by `python -m benchmarks.volume_support`, which builds each network small and with",
        f"random weights, wraps it with {len(VARIABLES)} kinds of variables, and clicks in a volume of {SIDE}³ voxels",
        "(SwinUNETR: 64³).",
        "A network works if all of these hold:",
        "",
        "- before a click, the map is that of the unwrapped network, to the last bit;",
        f"- a positive and a negative click are satisfied within {EVALUATIONS} evaluations, with all variables;",
        "- a volume that is larger than what it sees is opened in windows; a click there is satisfied, and the mask",
        "  outside of the click's window stays.",
        "",
        f"{sum(each.works for each in networks)} of {len(networks)} networks work. Run on {made['date']} with "
        f"interactify {made['interactify']}, torch {made['torch']}, {packages}.",
        "",
        "| network | works | stem | sides divisible by | deepest layer |",
        "|---|---|---|---|---|",
    ]
    for each in networks:
        stem = ", ".join(f"`{name}`" for name in each.found.get("stem", []))
        points = each.found.get("points", {})
        deepest = f"`{points['A']}`" if "A" in points else ""
        yes = "yes" if each.works else "no" if each.reason else "in part"
        lines.append(f"| {each.name} | {yes} | {stem} | {each.found.get('divisor', '')} | {deepest} |")
    failing = [each for each in networks if not each.works]
    if failing:
        lines += ["", "## What does not hold", ""]
        lines += [f"- {each.name}: {'; '.join(_failures(each))}" for each in failing]
    return "\n".join(lines) + "\n"


def _failures(finding: Finding) -> list[str]:
    if finding.reason:
        return [_plain(finding.reason)]
    found = [f"`{kind}`: {_plain(answer)}" for kind, answer in finding.satisfied.items() if answer != "yes"]
    if finding.identity:
        found.append(f"before a click the map differs by up to {finding.identity:.3g}")
    if finding.windows != "yes":
        found.append(f"windows: {_plain(finding.windows)}")
    return found


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def main() -> None:
    """Check the networks, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="only names that contain one of these")
    parser.add_argument("--report", action="store_true", help="only write the page from the results")
    given = parser.parse_args()
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"networks": []}
    if not given.report:
        warnings.filterwarnings("ignore")
        torch.set_num_threads(1)
        architectures = volume_architectures()
        known = {entry["name"]: entry for entry in stored["networks"]}
        wanted = [name for name in architectures if not given.only or any(text in name for text in given.only)]
        for name in wanted:
            finding = checked(name, architectures[name])
            known[name] = asdict(finding)
            print(f"{name}: {'works' if finding.works else '; '.join(_failures(finding))}", flush=True)
            networks = [known[each] for each in architectures if each in known]
            stored = {"machine": machine(), "versions": versions(), "networks": networks}
            text = json.dumps(stored, indent=None, separators=(",", ":"), ensure_ascii=False)
            RESULTS.write_text(text.replace('},{"name', '},\n{"name') + "\n", encoding="utf-8")
    PAGE.write_text(page(stored), encoding="utf-8")


if __name__ == "__main__":
    main()
