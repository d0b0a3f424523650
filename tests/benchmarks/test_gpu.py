"""The GPU's command runs on a processor with small networks; what is wrong on a device is seen and said."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import gpu, gpu_checks, gpu_tables, support
from benchmarks.speed_cases import Played
from benchmarks.speed_contestants import Outcome
from benchmarks.timed_parts import DONE, Part
from interactify.evaluation.timing import Clock
from tests.fixtures import networks
from tests.fixtures.emulated_graph import Graph, emulated

__all__ = ["emulated"]

pytestmark = pytest.mark.filterwarnings("ignore:Assumed .* as the normalisation:UserWarning:benchmarks")


class Here:
    """Runs parts in this process instead of a worker."""

    ran: ClassVar[list[str]] = []

    def __call__(self, part: Part, limit: float) -> tuple[str, Any]:
        Here.ran.append(part.name)
        return DONE, json.loads(json.dumps(part.measure()))

    def stop(self) -> None: ...


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of a tiny run on the processor."""
    path = tmp_path_factory.mktemp("gpu") / "tiny.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "Worker", Here)
        assert gpu.main(["--tiny", "--device", "cpu", "--out", str(path)]) == 0
        yield path


def found_in(path: Path, start: str) -> dict[str, Any]:
    (part,) = (part for name, part in json.loads(path.read_text())["parts"].items() if name.startswith(start))
    return part["found"]


def test_all_kinds_are_measured(tiny: Path) -> None:
    stored = json.loads(tiny.read_text())
    assert stored["tiny"] and stored["machine"]["device"] == "cpu" and stored["left_out"] == {}
    kinds = {name.partition(" ")[0] for name in stored["parts"]}
    assert kinds == {part.name.partition(" ")[0] for part in gpu.parts("cuda")} - {"tests", "graphs"}

    ways = found_in(tiny, "precision")["ways"]
    assert set(ways) == {"float32", "bfloat16"}
    assert ways["float32"]["iou"] == [1.0] * len(ways["float32"]["iou"]) and ways["float32"]["satisfied"] > 0
    assert 0 < ways["bfloat16"]["least_iou"] <= 1 and ways["bfloat16"]["satisfied"] > 0

    clicked = found_in(tiny, "clicks")
    assert {"interactify", "SciPy, whole", "SciPy, head"} <= set(clicked["contestants"]) and clicked["apart"] == []
    assert found_in(tiny, "objects")["pixels_unlike_alone"] <= 3

    held = found_in(tiny, "memory")
    assert held["weights"] > 1e6 and held["steps"]["open"]["peak"] > held["steps"]["open"]["kept"] > 0
    assert set(held["steps"]) == {"open", "first click"}
    assert held["all"] >= held["weights"] + held["steps"]["open"]["peak"]

    assert found_in(tiny, "family")["found"]["points"]
    video = found_in(tiny, "video")
    assert set(video["seconds"]) == {"set_image", "without a point", "with a point"}
    assert video["frames_per_second"] <= 1 / video["seconds"]["set_image"]["median"]


def test_what_a_run_wrote_becomes_tables(tiny: Path, emulated: list[Graph]) -> None:
    """The tables read the very keys that the parts write."""
    stored = json.loads(tiny.read_text())
    graphs = gpu_checks.graphs("embedded", "B", 64, "cpu", clicks=1, times=1)
    stored["parts"]["graphs embedded B 64"] = {"outcome": DONE, "seconds": 1.0, "found": graphs}
    text = gpu_tables.gpu_summary(stored)
    for title in ("CUDA graphs against", "Precisions", "One click", "Many objects", "Memory", "Families", "Frames"):
        assert text.count(f"### {title}") == 1
    assert "| embedded B 64 | yes | to the last bit | × " in text and "Every check of them holds." in text
    assert "| embedded C 64 | bfloat16 | " in text and "| passes a click | this library |" in text


def test_what_is_in_the_file_is_not_measured_again(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = json.loads(tiny.read_text())
    missing = next(name for name in stored["parts"] if name.startswith("video"))
    del stored["parts"][missing]
    other = tiny.with_name("other.json")
    other.write_text(json.dumps(stored))
    Here.ran.clear()
    assert gpu.main(["--tiny", "--device", "cpu", "--out", str(other)]) == 0
    assert Here.ran == [missing]
    stored["machine"]["torch"] = "2.0.0"
    other.write_text(json.dumps(stored))
    with pytest.raises(SystemExit):
        gpu.main(["--tiny", "--device", "cpu", "--out", str(other)])
    assert "got others (torch). Try another --out" in capsys.readouterr().err


def test_no_time_and_what_fails(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--tiny", "--device", "cpu", "--minutes", "0", "--only", "video", "--out", str(tmp_path / "x.json")]
    assert gpu.main(arguments) == 0
    assert "Left out: video embedded." in capsys.readouterr().out
    part = {"outcome": DONE, "found": {"holds": False}}
    assert gpu.conclude({"parts": {"a": part}, "left_out": {}}, tiny, 1.0) == 1
    assert "Does not hold: a." in capsys.readouterr().out


def test_without_a_gpu_it_ends_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main([])
    assert ended.value.code == 2 and "Expected a GPU for --device cuda, got none" in capsys.readouterr().err


def test_the_parts_are_in_the_order_of_worth() -> None:
    for parts in (gpu.parts("cuda"), gpu.tiny_parts("cuda")):
        kinds = [part.name.partition(" ")[0] for part in parts]
        order = ["tests", "graphs", "precision", "clicks", "objects", "memory", "family", "video"]
        assert list(dict.fromkeys(kinds)) == order and kinds == sorted(kinds, key=order.index)
        assert len({part.name for part in parts}) == len(parts)
        assert all(pickle.dumps(part.measure) for part in parts), "the worker gets them by name"
    names = " ".join(part.name for part in gpu.parts("cuda"))
    for network in ("Unet/ResNet-34", "DeepLabV3+/ResNet-50"):
        for point in ("input", "B"):
            for size in (512, 1024):
                assert f"clicks {network} {point} {size}" in names and f"memory {network} {point} {size}" in names


def test_families_are_those_of_the_support_table() -> None:
    known = {job.key for kind in {kind for kind, _ in gpu.FAMILIES} for job in support.jobs(kind)}
    assert {f"{kind} {name}" for kind, name in gpu.FAMILIES} <= known


def test_graphs_are_compared_with_steps(emulated: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu_checks.graphs("embedded", "B", 64, "cpu", clicks=2, times=1)
    assert found["holds"] and found["passes"]["equal"] and emulated[0].replays == 4
    assert found["sessions"]["iou"] == [1.0, 1.0] and found["sessions"]["satisfied_alike"]
    monkeypatch.setattr(Graph, "replay", lambda self: None)  # as if nothing had been captured
    wrong = gpu_checks._graph_against_tape(gpu_checks.network("embedded", 64, "cpu"), "B", 64, "cpu", times=1)
    assert not wrong["holds"] and not wrong["equal"] and wrong["logits"] > wrong["within"]


def test_masks_are_compared_after_each_click() -> None:
    masks = [np.zeros((4, 4), bool) for _ in range(3)]
    masks[1][:2], masks[2][:1] = True, True
    none, half, quarter = masks
    found = [Outcome(2, True, half, (True,)), Outcome(3, True, none, (True, False))]
    expected = [Outcome(2, True, quarter, (True,)), Outcome(2, True, none, (True, True))]
    compared = gpu_checks._compared(found, expected)
    assert compared == {"iou": [0.5, 1.0], "satisfied_alike": False, "satisfied": 2, "evaluations": [2, 3]}


def test_masks_that_change_with_the_precision_do_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """One way gives other masks, and one leaves a click unsatisfied; each way asks for its precision and TF32."""
    seen: dict[tuple[str, bool, bool], int] = {}
    mask = np.eye(4, dtype=bool)

    class Fake:
        def __init__(self, model: object, variables: str, size: int, precision: str) -> None:
            self.asked = precision, torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
            seen[self.asked] = seen.get(self.asked, 0) + 1

    def play(ours: Fake, *rest: object) -> Played:
        kind, _, products = ours.asked
        return Played(0.0, [1.0], [Outcome(2, True, ~mask if products else mask, (kind != "bfloat16",))])

    monkeypatch.setattr(gpu_checks, "Ours", Fake)
    monkeypatch.setattr(gpu_checks, "play", play)
    monkeypatch.setattr(gpu_checks, "script", lambda *_: [])
    monkeypatch.setattr(gpu_checks, "network", lambda *_: nn.Identity())
    monkeypatch.setattr(Clock, "_wait", lambda self: None)
    found = gpu_checks.precision("any", "input", 64, "cuda", photos=("cat", "coffee"))
    assert [way for way, row in found["ways"].items() if not row["holds"]] == ["TF32 everywhere", "bfloat16"]
    assert not found["holds"] and "bfloat16: IoU 1.000 (≥ 1.000), 0 of 2 satisfied" in found["in_short"]
    assert seen == {
        ("float32", False, False): 2,  # on the device and on the processor
        ("float32", True, False): 1,
        ("float32", True, True): 1,
        ("float16", True, False): 1,
        ("bfloat16", True, False): 1,
    }


def test_switches_of_torch_are_put_back() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(RuntimeError), gpu_checks.tf32(not before[0], not before[1]):
        assert torch.backends.cudnn.allow_tf32 != before[0]
        raise RuntimeError
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_a_family_that_fails_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    class Detached(networks.Plain):
        def read(self, x: torch.Tensor) -> torch.Tensor:
            return super().read(x.detach())

    monkeypatch.setattr(gpu_checks, "build", lambda job: lambda: networks.seeded(Detached))
    found = gpu_checks.family("smp", "any", "cpu")
    assert not found["holds"] and "gradient at input: none" in found["in_short"]


def test_networks_beyond_the_speed_benchmarks() -> None:
    model = gpu_checks.network("FPN/tu-test_efficientnet", 64, "cpu")
    assert isinstance(model, nn.Module) and not any(p.requires_grad for p in model.parameters())


def test_outcomes_of_tests_are_read(tmp_path: Path) -> None:
    path = tmp_path / "test_some.py"
    path.write_text(
        "from pytest import mark\npytestmark = mark.gpu\n"
        "def test_right(): pass\n"
        "@mark.skip\ndef test_skipped(): pass\n"
        "@mark.parametrize('x', ['a b'])\ndef test_wrong(x): assert x == 'c'\n"
    )
    found = gpu_checks.tests_marked_gpu(60.0, [str(path)])
    assert found["counts"] == {"PASSED": 1, "SKIPPED": 1, "FAILED": 1} and found["exit_code"] == 1
    ((name, reason),) = found["failed"].items()
    assert name.endswith("test_some.py::test_wrong[a b]") and reason.startswith("AssertionError: assert 'a b' == 'c'")
    assert not found["holds"] and found["in_short"] == "1 passed, 1 skipped, 1 failed"
    marked = gpu_checks.marked_files()
    assert {"tests/test_gpu.py", "tests/test_wrap.py"} <= set(marked) and "tests/benchmarks/test_gpu.py" not in marked


def test_what_the_tests_said_before_their_time_was_over() -> None:
    said = ["tests/a.py::test_x[1 2] PASSED   [ 50%]", "tests/a.py::test_y FAILED [ 75%]", "tests/a.py::test_z "]
    found = gpu_checks.read_outcomes(said, None)
    assert found["counts"] == {"PASSED": 1, "FAILED": 1} and found["failed"] == {"tests/a.py::test_y": "FAILED"}
    assert not found["holds"] and found["in_short"].endswith("and then the time was over")
    assert gpu_checks.read_outcomes(said[:1], 0)["holds"] and not gpu_checks.read_outcomes([], 0)["holds"]
    assert gpu_checks.tests_marked_gpu(0.05, ["tests/test_gpu.py"])["exit_code"] is None
