"""A saved and loaded session continues exactly; files, networks and photos that do not fit are refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import interactify
from interactify.errors import CheckpointError, InteractifyError, OptionError
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo(60, 90)


def net_of(build: Any = networks.Plain, seed: int = 0, **options: Any) -> interactify.Interactive:
    return interactify.wrap(networks.seeded(build, seed), **{"max_evaluations": 6, **options})


def clicked(net: interactify.Interactive, count: int = 3, undone: int = 1) -> Session:
    session = net.session(PHOTO)
    for x, y in [(30, 20), (80, 50), (0, 59), (85, 0), (80, 50)][:count]:
        session.click(x=x, y=y, positive=not bool(session.result.mask[y, x]))
    for _ in range(undone):
        session.undo()
    return session


def visible_state(session: Session) -> list[Any]:
    """Everything that users see of all results in the history."""
    found = []
    for step in (
        session.initial_step,
        *(step for snapshot in session.history.snapshots for track in snapshot.tracks for step in track.steps),
    ):
        result = step.result
        found.append(
            (
                step.interactions,
                result.interactions,
                result.overruled,
                result.mask.tobytes(),
                result.probability.tobytes(),
                result.changed.tobytes(),
                (result.evaluations, result.status, result.seconds, result.satisfied),
                step.values.numpy().tobytes(),
            )
        )
    return [session.interactions, len(session.steps), *found]


VARIABLES = ["input", "maps", "kernels"]
VARIABLES += ["scale_bias@down", "bias_field@down", "conv1x1@down", "rows_columns@down"]


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        *((variables, {}) for variables in VARIABLES),
        *(("input", options) for options in ({"resolution": 64}, {"energy": "brs", "solver": "scipy", "zoom": False})),
    ],
    ids=str,
)
def test_a_loaded_session_continues(variables: str, options: dict[str, Any], tmp_path: Path) -> None:
    net = net_of(variables=variables, **options)
    session = clicked(net)
    path = session.save(tmp_path / "session.npz")
    assert path == tmp_path / "session.npz"
    loaded = interactify.load_session(path, net, PHOTO)
    assert visible_state(loaded) == visible_state(session)
    for act in (Session.redo, Session.undo, Session.undo, Session.redo):
        assert np.array_equal(act(loaded).mask, act(session).mask)
        assert visible_state(loaded) == visible_state(session)
    one, two = (s.click(x=60, y=10) for s in (session, loaded))
    assert torch.equal(one.logits, two.logits) and np.array_equal(one.mask, two.mask)
    assert one.evaluations == two.evaluations and np.array_equal(one.changed, two.changed)


@pytest.mark.parametrize(("count", "undone"), [(0, 0), (1, 0), (2, 2), (4, 2), (5, 0), (5, 3)])
def test_every_history(count: int, undone: int, tmp_path: Path) -> None:
    net = net_of(max_evaluations=3, resolution=64)
    session = clicked(net, count, undone)
    loaded = interactify.load_session(session.save(tmp_path / "s"), net, PHOTO)
    assert visible_state(loaded) == visible_state(session)
    # Saved again: the very same.
    assert visible_state(interactify.load_session(loaded.save(tmp_path / "t"), net, PHOTO)) == visible_state(session)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype, tmp_path: Path) -> None:
    model = networks.seeded(networks.Plain).to(dtype)
    net = interactify.wrap(model, max_evaluations=6)
    session = clicked(net)
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net, PHOTO)
    assert torch.equal(loaded.click(x=3, y=3).logits, session.click(x=3, y=3).logits)


def test_another_wrapping_of_an_equal_network(tmp_path: Path) -> None:
    path = clicked(net_of()).save(tmp_path / "s.npz")
    assert len(interactify.load_session(path, net_of(), PHOTO).interactions) == 2


def test_several_classes(tmp_path: Path) -> None:
    net = net_of(lambda: networks.Plain(classes=4))
    session = net.session(PHOTO, target=2)
    session.click(x=3, y=3)
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net, PHOTO)
    assert loaded.target == 2
    assert torch.equal(loaded.click(x=50, y=30).logits, session.click(x=50, y=30).logits)


def test_a_network_that_counts_its_passes(tmp_path: Path) -> None:
    """Buffers that a forward pass writes to do not make it another network."""
    net = interactify.wrap(networks.seeded(networks.Stateful), max_evaluations=4)
    session = clicked(net)
    path = session.save(tmp_path / "s.npz")
    assert len(interactify.load_session(path, net, PHOTO).interactions) == 2


def test_the_file_holds_neither_pickle_nor_photo(tmp_path: Path) -> None:
    path = clicked(net_of(variables="scale_bias@down")).save(tmp_path / "s.npz")
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
        assert not any(file[name].size == PHOTO.size for name in file.files)


# ---- what does not fit -----------------------------------------------------------------------------------------------


def test_another_network(tmp_path: Path) -> None:
    path = clicked(net_of()).save(tmp_path / "s.npz")
    others = [
        net_of(seed=1),
        net_of(lambda: networks.Plain(classes=3)),
        net_of(lambda: networks.Plain(smooth=True), seed=1),
        net_of(networks.WeightStandardised, seed=2),
    ]
    almost = net_of()
    with torch.no_grad():
        almost.unwrap().head.bias.add_(1e-6)
    for other in (*others, almost):
        with pytest.raises(CheckpointError):
            interactify.load_session(path, other, PHOTO)


def test_a_target_that_the_other_network_lacks(tmp_path: Path) -> None:
    session = net_of(lambda: networks.Plain(classes=5)).session(PHOTO, target=4)
    path = session.save(tmp_path / "s.npz")
    with pytest.raises(CheckpointError):
        interactify.load_session(path, net_of(), PHOTO)


def test_a_network_of_another_architecture_with_the_same_weights(tmp_path: Path) -> None:
    """ReLU or softplus: the weights are the same, but the next mask is not."""
    path = clicked(net_of()).save(tmp_path / "s.npz")
    model = networks.Plain(smooth=True)
    reference = networks.seeded(networks.Plain)
    model.load_state_dict(reference.state_dict())
    model.gain = reference.gain
    with pytest.raises(CheckpointError):
        interactify.load_session(path, interactify.wrap(model.eval(), max_evaluations=6), PHOTO)


@pytest.mark.parametrize(
    "options",
    [
        {"variables": "maps"}, {"energy": "brs"}, {"solver": "scipy"}, {"max_evaluations": 7}, {"resolution": 64},
        {"divisor": 64}, {"propagation": "edges"}, {"mean": 0.5}, {"std": 0.5}, {"zoom": False},
    ],
    ids=str,
)  # fmt: skip
def test_other_options(options: dict[str, Any], tmp_path: Path) -> None:
    path = clicked(net_of()).save(tmp_path / "s.npz")
    with pytest.raises(
        CheckpointError,
        match=next(iter(options)) if "resolution" not in options and "divisor" not in options else "view",
    ):
        interactify.load_session(path, net_of(**options), PHOTO)


def test_the_class_is_that_of_the_file_whatever_the_network_was_wrapped_for(tmp_path: Path) -> None:
    several = {"build": lambda: networks.Plain(classes=3)}
    session = clicked(net_of(**several))
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net_of(**several, target=2), PHOTO)
    assert loaded.target is None and visible_state(loaded) == visible_state(session)


def test_another_photo(tmp_path: Path) -> None:
    net = net_of()
    path = clicked(net).save(tmp_path / "s.npz")
    almost = PHOTO.copy()
    almost[0, 0, 0] ^= 1
    for photo in (networks.random_photo(60, 90, seed=9), networks.random_photo(90, 60), PHOTO[:-1], almost):
        with pytest.raises(CheckpointError, match="photo"):
            interactify.load_session(path, net, photo)


# ---- invalid files ---------------------------------------------------------------------------------------------------


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def foreign(tmp_path: Path) -> dict[str, bytes]:
    buffers: dict[str, bytes] = {"empty": b"", "text": b"not a session", "png": b"\x89PNG\r\n\x1a\n" + bytes(50)}
    buffers["pickle"] = pickle.dumps(Trap(tmp_path / "sprung"))
    for name, array in (("npy", np.zeros(3)), ("npy of objects", np.array([Trap(tmp_path / "sprung")]))):
        out = io.BytesIO()
        np.save(out, array, allow_pickle=True)
        buffers[name] = out.getvalue()
    for name, arrays in (
        ("other npz", {"a": np.zeros(3)}),
        ("npz of objects", {"header": np.array([Trap(tmp_path / "sprung")])}),
        ("header of numbers", {"header": np.arange(5.0)}),
        ("header of text", {"header": np.array("text")}),
    ):
        out = io.BytesIO()
        np.savez(out, **arrays)  # type: ignore[arg-type]
        buffers[name] = out.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("readme.txt", "a zip, but of what")
    buffers["zip"] = out.getvalue()
    out = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, out)
    buffers["torch"] = out.getvalue()
    return buffers


def test_files_of_another_kind(tmp_path: Path) -> None:
    net = net_of()
    for name, content in foreign(tmp_path).items():
        path = tmp_path / "foreign.npz"
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            interactify.load_session(path, net, PHOTO)
            pytest.fail(name)
    assert not (tmp_path / "sprung").exists(), "nothing is unpickled"
    for path in (tmp_path / "nowhere.npz", tmp_path):
        with pytest.raises(CheckpointError):
            interactify.load_session(path, net, PHOTO)


def small_file(tmp_path: Path) -> tuple[interactify.Interactive, bytes]:
    net = net_of(variables="scale_bias@down", max_evaluations=2)
    return net, clicked(net, 2, 1).save(tmp_path / "whole.npz").read_bytes()


def test_truncated_files(tmp_path: Path) -> None:
    net, whole = small_file(tmp_path)
    path = tmp_path / "cut.npz"
    for length in [0, 1, 4, 30, 100, *range(200, len(whole), max(1, len(whole) // 25)), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            interactify.load_session(path, net, PHOTO)


def test_corrupt_files(tmp_path: Path) -> None:
    """A byte changed anywhere: either it does not matter, or it is reported; never another error or another mask."""
    net, whole = small_file(tmp_path)
    expected = visible_state(interactify.load_session(tmp_path / "whole.npz", net, PHOTO))
    path = tmp_path / "corrupt.npz"
    generator = np.random.default_rng(0)
    positions = sorted(
        {*range(60), *range(len(whole) - 120, len(whole)), *generator.integers(0, len(whole), 120).tolist()}
    )
    caught = 0
    for position in positions:
        path.write_bytes(
            whole[:position] + bytes([whole[position] ^ (1 << int(generator.integers(8)))]) + whole[position + 1 :]
        )
        try:
            assert visible_state(interactify.load_session(path, net, PHOTO)) == expected
        except CheckpointError:
            caught += 1
    assert caught > len(positions) // 3


def header_of(whole: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(io.BytesIO(whole)) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("header").tobytes()), arrays


def written(path: Path, header: Any, arrays: dict[str, np.ndarray]) -> Path:
    with path.open("wb") as file:
        np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    return path


def without(key: str) -> Any:
    return lambda header, arrays: (header.pop(key), None)


def setting(key: str, value: Any) -> Any:
    return lambda header, arrays: header.__setitem__(key, value)


def in_step(key: str, value: Any) -> Any:
    return lambda header, arrays: header["steps"][0].__setitem__(key, value)


def in_board(key: str, value: Any) -> Any:
    return lambda header, arrays: header["boards"][0]["objects"][0].__setitem__(key, value)


EDITS: dict[str, Any] = {
    **{f"no {key}": without(key) for key in ("format", "settings", "photo", "network", "steps", "boards", "now")},
    "format 1": setting("format", 1),
    "format None": setting("format", None),
    "settings a list": setting("settings", []),
    "settings None": setting("settings", None),
    "settings empty": setting("settings", {}),
    "steps None": setting("steps", None),
    "steps text": setting("steps", "text"),
    "steps of text": setting("steps", ["text"]),
    "steps None inside": setting("steps", [None]),
    "after text": in_step("after", "first"),
    "after itself": in_step("after", 0),
    "after a step that does not exist": in_step("after", 7),
    "snapshots None": setting("boards", None),
    "snapshots of text": setting("boards", ["first"]),
    "snapshots without objects": setting("boards", [{"objects": [], "active": 0}]),
    "objects without steps": in_board("last", 7),
    "objects without a name": in_board("name", ""),
    "objects named by numbers": in_board("name", 3),
    "objects of an unknown class": in_board("target", 5),
    "an active object that does not exist": lambda header, arrays: header["boards"][0].__setitem__("active", 2),
    "a class that no step has": in_step("target", 1),
    "unknown classes": in_step("targets", [0, 9]),
    "now text": setting("now", "last"),
    "now beyond": setting("now", 99),
    "now negative": setting("now", -1),
    "interactions None": in_step("added", None),
    "interactions of text": in_step("added", ["a"]),
    "interactions without x": in_step("added", [{"y": 3, "positive": True}]),
    "interactions of another kind": in_step("added", [{"kind": "glance", "x": 3, "y": 3, "positive": True}]),
    "interactions outside the photo": in_step("added", [{"x": 9999, "y": 3, "positive": True}]),
    "no classes": in_step("targets", []),
    "numbers of no kind": in_step("has", 3),
    "seconds text": in_step("seconds", "long"),
    "evaluations text": in_step("evaluations", "many"),
    "window None": in_step("window", None),
    "window outside": in_step("window", [50, 80, 60, 90]),
    "window negative": in_step("window", [-5, 0, 60, 90]),
    "window empty": in_step("window", [0, 0, 0, 0]),
    "no values": lambda header, arrays: arrays.pop("0_values"),
    "values of another shape": lambda header, arrays: arrays.__setitem__("0_values", np.zeros((4, 2, 5), np.uint8)),
    "values of another type": lambda header, arrays: arrays.__setitem__("0_values", np.zeros((2, 12), np.float32)),
    "values of too few bytes": lambda header, arrays: arrays.__setitem__("0_values", np.zeros((2, 2, 12), np.uint8)),
    "values of text": lambda header, arrays: arrays.__setitem__("0_values", np.full((2, 12), "a")),
    "values NaN": lambda header, arrays: arrays.__setitem__("0_values", np.full((4, 2, 12), 255, np.uint8)),
    "no logits": lambda header, arrays: arrays.pop("0_odds"),
    "logits of another shape": lambda header, arrays: arrays.__setitem__("0_odds", np.zeros((4, 1, 1, 4, 4), np.uint8)),
    "logits NaN": lambda header, arrays: arrays.__setitem__("0_odds", np.full((4, 1, 1, 64, 96), 255, np.uint8)),
    "target unknown": lambda header, arrays: header["settings"].__setitem__("target", 77),
    "target text": lambda header, arrays: header["settings"].__setitem__("target", "cat"),
}


@pytest.mark.parametrize("name", EDITS)
def test_edited_files(name: str, tmp_path: Path) -> None:
    net, whole = small_file(tmp_path)
    header, arrays = header_of(whole)
    interactify.load_session(written(tmp_path / "same.npz", header, arrays), net, PHOTO)
    EDITS[name](header, arrays)
    with pytest.raises(CheckpointError):
        session = interactify.load_session(written(tmp_path / "edited.npz", header, arrays), net, PHOTO)
        pytest.fail(f"loaded {session!r}")


def test_headers_that_are_not_a_dict(tmp_path: Path) -> None:
    net = net_of()
    for header in (None, [], "text", 3, [1, 2]):
        with pytest.raises(CheckpointError):
            interactify.load_session(written(tmp_path / "s.npz", header, {}), net, PHOTO)


# ---- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file(
    trouble: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = net_of()
    session = clicked(net)
    path = session.save(tmp_path / "s.npz")
    before = path.read_bytes()
    session.click(x=1, y=1)
    with monkeypatch.context() as patch:

        def broken(*args: Any, **kwargs: Any) -> None:
            raise trouble

        patch.setattr(os, "replace", broken)
        with pytest.raises(OptionError if isinstance(trouble, OSError) else KeyboardInterrupt):
            session.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["s.npz"], "and no unfinished file beside it"
    session.save(path)
    assert len(interactify.load_session(path, net, PHOTO).interactions) == 3


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    session = net_of().session(PHOTO)
    for path in (tmp_path / "nowhere" / "s.npz", tmp_path):
        with pytest.raises(InteractifyError):
            session.save(path)


def test_a_session_with_clicks_restores_no_history() -> None:
    session = clicked(net_of())
    with pytest.raises(InteractifyError):
        session.restore(session.history)
