"""Files of sessions on volumes: they continue to the last bit, and refuse what they were not saved for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import interactify
from interactify import VoxelBox, VoxelClick, VoxelLasso, VoxelMask, VoxelScribble
from interactify.errors import CheckpointError, InteractifyError
from interactify.volumes.session import VolumeSession
from tests.fixtures import networks, volumes

VOLUME = volumes.random_volume()
LARGE = volumes.random_volume((24, 16, 20), seed=4)
MASK = np.zeros(VOLUME.shape, bool)
MASK[3:9, 4:12, 5:15] = True


def wrapped(**options: Any) -> interactify.Interactive:
    return interactify.wrap(volumes.plain(), mean=0, std=1, **options)


def at(session: VolumeSession, x: int, y: int, z: int) -> VoxelClick:
    """A click that the mask contradicts."""
    return VoxelClick(x, y, not bool(session.result.mask[z, y, x]), z=z)


@pytest.mark.parametrize("options", [{}, {"resolution": 12}, {"variables": "scale_bias@A", "resolution": 12}])
def test_it_continues_to_the_last_bit(options: dict[str, Any], tmp_path: Path) -> None:
    net = wrapped(**options)
    session = net.session(LARGE)
    for place in ((10, 8, 6), (3, 3, 20), (11, 9, 7)):
        session.add([at(session, *place)])
    session.add([VoxelScribble([(2, 2), (9, 2)], z=3), VoxelBox(1, 1, 18, 14, z=(1, 20))])
    session.undo()
    path = session.save(tmp_path / "session.npz")
    again = interactify.load_session(path, net, LARGE.copy())
    assert isinstance(again, VolumeSession) and again.interactions == session.interactions
    assert again.save(tmp_path / "again.npz").read_bytes() == path.read_bytes()
    for change in (lambda s: s.redo(), lambda s: s.click(12, 4, 10, not s.result.mask[10, 4, 12]), lambda s: s.undo(),
                   lambda s: s.remove(0), lambda s: s.undo(), lambda s: s.undo()):  # fmt: skip
        one, other = change(session), change(again)
        assert np.array_equal(one.probability, other.probability) and np.array_equal(one.changed, other.changed)
        assert (one.evaluations, one.status, one.unsatisfied) == (other.evaluations, other.status, other.unsatisfied)


def test_masks_regions_and_classes_come_back(tmp_path: Path) -> None:
    model = networks.seeded(volumes.Quarter3d)
    volume = interactify.Volume(np.stack([VOLUME, VOLUME[::-1]]), spacing=(2, 1, 1), value_range=(-2, 2))
    net = interactify.wrap(model, mean=0, std=1)
    session = net.session(volume)
    session.add([VoxelMask(MASK)])
    session.add([VoxelClick(9, 8, False, z=5)])
    session.add([VoxelLasso([(4, 4), (14, 4), (9, 12)], z=6), VoxelBox(0, 0, 4, 4, z=2, positive=False)])
    again = interactify.load_session(session.save(tmp_path / "session.npz"), net, volume)
    assert np.array_equal(again.result.probability, session.result.probability)
    assert np.array_equal(again.undo().mask, session.undo().mask)
    one, other = (each.click(1, 1, 1) for each in (session, again))
    assert np.array_equal(one.probability, other.probability) and session.steps[-1].target == again.steps[-1].target


def test_the_centre_of_an_empty_region_comes_back(tmp_path: Path) -> None:
    model = volumes.plain()
    with torch.no_grad():
        model.head.bias -= 20  # nothing is found anywhere
    net = interactify.wrap(model, mean=0, std=1, activation="none")
    session = net.session(VOLUME)
    session.add([VoxelBox(4, 3, 15, 12, z=(2, 9))])
    again = interactify.load_session(session.save(tmp_path / "session.npz"), net, VOLUME)
    one, other = session.result.constraints, again.result.constraints
    assert one.assume_centre and np.array_equal(one.voxels, other.voxels) and one.positive.any()


def test_an_empty_session_and_one_that_was_reset(tmp_path: Path) -> None:
    net = wrapped()
    session = net.session(VOLUME)
    assert interactify.load_session(session.save(tmp_path / "empty.npz"), net, VOLUME).interactions == ()
    session.click(10, 8, 6)
    session.reset()
    again = interactify.load_session(session.save(tmp_path / "reset.npz"), net, VOLUME)
    assert again.interactions == () and len(again.undo().interactions) == 1


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    session = wrapped().session(VOLUME)
    session.add([at(session, 10, 8, 6)])
    return session.save(tmp_path_factory.mktemp("saved") / "session.npz")


def test_another_volume_network_or_option_is_refused(saved: Path) -> None:
    other = VOLUME.copy()
    other[5, 5, 5] += 1e-3
    with pytest.raises(CheckpointError, match="Expected the volume"):
        interactify.load_session(saved, wrapped(), other)
    with pytest.raises(CheckpointError, match="max_evaluations: 40, got 30"):
        interactify.load_session(saved, wrapped(max_evaluations=30), VOLUME)
    with pytest.raises(CheckpointError, match="propagation: "):
        interactify.load_session(saved, wrapped(propagation="edges"), VOLUME)
    model = volumes.plain()
    with torch.no_grad():
        model.head.bias += 0.1
    with pytest.raises(CheckpointError, match="other weights"):
        interactify.load_session(saved, interactify.wrap(model, mean=0, std=1), VOLUME)
    model = volumes.plain()
    model.gain = 3.0
    with pytest.raises(CheckpointError, match="predicts something else"):
        interactify.load_session(saved, interactify.wrap(model, mean=0, std=1), VOLUME)


def test_files_of_other_kinds_are_refused(saved: Path, tmp_path: Path) -> None:
    images = interactify.wrap(networks.seeded(networks.Plain), mean=0, std=1)
    photo = networks.random_photo()
    path = images.session(photo).save(tmp_path / "photo.npz")
    with pytest.raises(CheckpointError, match="not one"):
        interactify.load_session(path, wrapped(), VOLUME)
    with pytest.raises(CheckpointError, match="not one"):
        interactify.load_session(saved, images, photo)
    assert interactify.load_session(path, images, photo).size == photo.shape[:2]
    (tmp_path / "text.npz").write_text("no session")
    for wrong in (tmp_path / "text.npz", tmp_path / "missing.npz", tmp_path, None):
        with pytest.raises(CheckpointError, match="Expected a session"):
            interactify.load_session(wrong, wrapped(), VOLUME)  # type: ignore[arg-type]


def damaged(path: Path, into: Path, change: Any) -> Path:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes().decode())
    change(header, arrays)
    np.savez(into, **{**arrays, "header": np.frombuffer(json.dumps(header).encode(), np.uint8)})
    return into


@pytest.mark.parametrize(
    "change",
    [
        lambda h, a: h["steps"][0].pop("added"),
        lambda h, a: h["steps"][0].update(added=[]),
        lambda h, a: h["steps"][0]["added"][0].update(z=99),
        lambda h, a: h["steps"][0].update(block=[0, 0, 0, 3, 3, 3]),
        lambda h, a: h["steps"][0].update(after=7),
        lambda h, a: h["steps"][0].update(target=5),
        lambda h, a: h["steps"][0].update(steadiness=2),
        lambda h, a: h["steps"][0]["answers"][0].__setitem__(1, 4),
        lambda h, a: h.update(now=3),
        lambda h, a: h.update(now=-5),
        lambda h, a: h.update(format=2),
        lambda h, a: h["settings"].update(value_range=[3, 1]),
        lambda h, a: a.pop("answer_0"),
        lambda h, a: a.update({"0_values": a["0_values"][:, :, :, :4]}),
        lambda h, a: a["answer_0"].fill(255),
        lambda h, a: a.pop("plain"),
    ],
)
def test_damaged_files_are_refused(saved: Path, tmp_path: Path, change: Any) -> None:
    path = damaged(saved, tmp_path / "damaged.npz", change)
    with pytest.raises(CheckpointError, match="Expected"):
        interactify.load_session(path, wrapped(), VOLUME)


def test_a_network_that_changed_is_not_saved(tmp_path: Path) -> None:
    model = volumes.plain()
    session = interactify.wrap(model, mean=0, std=1).session(VOLUME)
    with torch.no_grad():
        model.head.bias += 0.1
    with pytest.raises(InteractifyError, match="changed"):
        session.save(tmp_path / "session.npz")
    assert not (tmp_path / "session.npz").exists()
