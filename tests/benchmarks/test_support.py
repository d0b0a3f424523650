"""The sweep behind the support table finds each kind of failure, resumes, and reports its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import support, support_report
from benchmarks.invariants import Finding, checked
from tests.fixtures import networks


def test_a_network_in_order() -> None:
    finding = checked(lambda: networks.seeded(networks.Plain))
    assert finding.reason == "" and finding.parameters == 3865
    assert finding.found["stem"] == ["stem"] and finding.found["points"]["A"] == "deep"


class WritesItsWeights(networks.Plain):
    def read(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.stem.weight.mul_(1.0)
        return super().read(x)


class Forgetful(networks.Plain):
    """Another answer to each pass."""

    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        Forgetful.runs += 1
        return super().forward(x) + Forgetful.runs


class WithoutGradient(networks.Plain):
    def read(self, x: Tensor) -> Tensor:
        return super().read(x.detach())


class Infinite(networks.Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (WritesItsWeights, "not as it was"),
        (Forgetful, "before a click: differs"),
        (WithoutGradient, "gradient at input: none"),
        (Infinite, "NonFiniteError"),
        (networks.Classifier, "ModelError"),
        (lambda: 1 / 0, "can't be built: ZeroDivisionError"),
    ],
)
def test_a_violated_invariant_is_found(build: Any, reason: str) -> None:
    assert reason in checked(lambda: networks.seeded(build)).reason


def test_a_faded_signal_is_revived() -> None:
    """Weights in which the signal fades are no fault of the structure."""

    def faded() -> nn.Module:
        model = networks.seeded(networks.Plain)
        with torch.no_grad():
            for layer in (model.stem, model.down, model.deep, model.up):
                layer.weight.mul_(1e-12)
                layer.bias.zero_()
        return model

    finding = checked(faded)
    assert finding.reason == "" and finding.found["revived"]


def test_a_sweep_resumes(tmp_path: Path) -> None:
    known = support.Job("timm", "test_resnet", "resnet")
    entry = {"kind": "timm", "name": "test_resnet", "family": "resnet", "reason": "", "date": "2026-01-01", "found": {}}
    path = tmp_path / "support.jsonl"
    path.write_text(json.dumps(entry) + "\n")
    assert support.read(path)[known.key]["reason"] == ""
    path.write_text(json.dumps(entry) + "\n" + json.dumps({**entry, "reason": "broke"}) + "\n")
    assert support.read(path)[known.key]["reason"] == "broke"


def test_processes_check_jobs_and_are_stopped_in_time() -> None:
    jobs = [support.Job("timm", "test_vit", "x"), support.Job("timm", "no_such_network", "x")]
    found = {job.name: finding for job, finding in support.sweep(jobs, workers=1, seconds=120, parameters=1e9)}
    assert found["test_vit"].parameters > 0 and found["test_vit"].reason == ""
    assert "can't be built" in found["no_such_network"].reason
    ((_, late),) = support.sweep(jobs[:1], workers=1, seconds=0.0, parameters=1e9)
    assert late.reason.startswith("took longer than 0 s")


def test_every_kind_has_jobs() -> None:
    counts = {kind: len(list(support.jobs(kind))) for kind in support.KINDS}
    assert counts["timm"] == counts["tu"] == 652 and counts["timm-others"] == 719
    assert counts["smp"] == 779 and counts["torchvision"] == 6 and counts["transformers"] >= 10


def test_the_report_shows_the_results() -> None:
    entries = [
        {
            "kind": "smp",
            "name": "Unet/a",
            "family": "Unet",
            "reason": "",
            "date": "2026-01-01",
            "found": {"stem": ["s"]},
        },
        {"kind": "smp", "name": "Unet/b", "family": "Unet", "reason": "x|<y>", "date": "2026-01-02", "found": {}},
        {"kind": "tu", "name": "unet/tu-c", "family": "resnet", "reason": "", "date": "2026-01-02", "found": {}},
    ]
    page = support_report.page(entries, {"torch": "2"})
    assert "| Unet | 1 | 2 |" in page and "| resnet | 1 | 1 |" in page
    assert "- `Unet/b`: x/&lt;y&gt;" in page and "2026-01-01 to 2026-01-02 with torch 2." in page
    names = support_report.full_list(entries)
    assert "~~Unet/b~~" in names and "**Unet** (1 of 2)" in names
    assert Finding().reason == ""
