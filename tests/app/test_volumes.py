"""The page's server with volumes: slices, interactions on them, masks of slices, files on disk, and errors."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")
pytest.importorskip("nibabel", reason="needs nibabel: install interactify[test]")

import nibabel

import interactify
from interactify import VoxelBox, VoxelLasso, VoxelScribble
from interactify.app.frames import read_frames
from interactify.app.volumes.in_space import VolumeInSpace
from interactify.app.volumes.shown_volume import ShownVolume
from interactify.errors import InteractionError
from tests.fixtures import slices, volumes
from tests.fixtures.served import Killed, served

SIZE = (12, 20, 24)
SPACING = (3.0, 1.0, 1.5)
AFFINE = np.diag([1.5, 1.0, 3.0, 1.0])  # x to the right, y to the front, z up
AFFINE[:3, 3] = -20, -10, 5


@pytest.fixture
def deep() -> interactify.Interactive:
    return interactify.wrap(volumes.plain(), mean=0, std=1, max_evaluations=8)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A NIfTI file of a small volume."""
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volumes.random_volume(SIZE).T, AFFINE), path)
    return path


class VolumePage:
    """What the page has of a volume; its points are pixels of the picture of a slice."""

    def __init__(self, client: Any, number: int = 0) -> None:
        self.client, self.at = client, f"/api/photos/{number}"
        self.volume = self.get("volume").json()
        self.cut = f"{self.volume['planes'][0]['axis']},{self.volume['planes'][0]['count'] // 2}"
        self.state: dict[str, Any] = {}
        self.take(self.get("state", cut=self.cut))

    def get(self, what: str, **query: str) -> Any:
        return self.checked(self.client.get(f"{self.at}/{what}", params=query))

    def checked(self, response: Any) -> Any:
        assert response.status_code == 200, response.text
        return response

    def do(self, action: str, **content: Any) -> VolumePage:
        query = {"cut": self.cut}
        self.take(self.checked(self.client.post(f"{self.at}/do", json={"do": action, **content}, params=query)))
        return self

    def add(self, kind: str, **content: Any) -> VolumePage:
        return self.do("add", interactions=[{"kind": kind, **content}])

    def click(self, x: int, y: int, positive: bool = True) -> VolumePage:
        return self.add("click", x=x, y=y, positive=positive)

    def take(self, response: Any) -> None:
        for header, parts in read_frames(response.content):
            assert header["kind"] == "state" or header["base"] == self.state["serial"]
            assert header["cut"] == [int(each) for each in self.cut.split(",")]
            self.state = {**self.state, **header}
            self.mask = opaque(parts[0])

    def mask_at(self, cut: str) -> np.ndarray:
        ((_, parts),) = read_frames(self.get("mask", cut=cut).content)
        return opaque(parts[0])

    def picture(self, cut: str, **query: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.get("slice", cut=cut, **query).content)))


def opaque(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png))) > 0


def test_slices_are_upright_and_in_proportion(deep, scan, tmp_path):
    voxels = volumes.random_volume(SIZE)
    with served(deep, [scan], tmp_path / "out", volumes=True) as (client, _):
        page = VolumePage(client)
        planes = page.volume["planes"]
        assert [(each["name"], each["axis"], each["count"]) for each in planes] == [
            ("Axial", 0, 12),
            ("Coronal", 1, 20),
            ("Sagittal", 2, 24),
        ]
        assert [(each["width"], each["height"]) for each in planes] == [(36, 20), (24, 24), (20, 36)]
        low, high = page.volume["window"]
        assert low < high and page.volume["extent"][0] <= low
        for axis, z, y, x in ((0, 5, 3, 4), (1, 5, 3, 4), (2, 5, 3, 4)):
            picture = page.picture(f"{axis},{(z, y, x)[axis]}", window="-1,1")
            # Up and the front are at the top, and the right side is at the left; voxels of 1.5 take 1 or 2 columns.
            row, column = {0: (19 - y, (23 - x) * 1.5), 1: ((11 - z) * 2, 23 - x), 2: ((11 - z) * 3, 19 - y)}[axis]
            grey = np.clip((voxels[z, y, x] + 1) / 2, 0, 1) * 255
            assert abs(float(picture[row, int(column + 0.5)]) - grey) < 1
        assert Image.open(io.BytesIO(page.get("thumb").content)).size == (36, 20)
        assert client.get("/api/project").json()["volumes"] == {
            "slices": False,
            "kinds": ["click", "scribble", "box", "lasso"],
            "uncertainty": True,
        }


def test_gestures_on_slices_give_what_the_library_gives(deep, scan, tmp_path):
    session = deep.session(scan)
    with served(deep, [scan], tmp_path / "out", volumes=True) as (client, _):
        page = VolumePage(client)

        def agrees(result):
            z, y, x = 6, 7, 11
            assert (page.mask_at(f"0,{z}") == axial(result.mask[z])).all()
            assert (page.mask_at(f"1,{y}") == result.mask[::-1, y, ::-1].repeat(2, 0)).all()
            assert (page.mask_at(f"2,{x}") == result.mask[::-1, ::-1, x].repeat(3, 0)).all()
            assert page.state["result"]["satisfied"] == result.satisfied
            assert len(page.state["interactions"]) == len(result.interactions)

        agrees(session.result)
        page.click(*on_axial(8, 9))
        assert page.state["interactions"][0]["points"] == [[8, 9, 6]]
        agrees(session.click(8, 9, 6))
        assert (page.mask == axial(session.result.mask[6])).all()
        page.add("scribble", points=[on_axial(3, 4), on_axial(10, 4)], positive=False, width=2.0)
        agrees(session.add([VoxelScribble([(3, 4), (10, 4)], False, 2.0, z=6)]))
        first, last = on_axial(20, 17), on_axial(2, 3)
        page.add("box", left=first[0], top=first[1], right=last[0], bottom=last[1])
        agrees(session.add([VoxelBox(2, 3, 20, 17, z=6)]))
        page.add("lasso", points=[on_axial(3, 4), on_axial(18, 4), on_axial(10, 16)])
        agrees(session.add([VoxelLasso([(3, 4), (18, 4), (10, 16)], z=6)]))
        page.cut = "1,7"
        page.click(23 - 5, (11 - 3) * 2, positive=False)
        agrees(session.click(5, 7, 3, positive=False))
        page.add("scribble", points=[[23 - 5, 0], [23 - 9, 0]], positive=True, width=5.0)
        agrees(session.add([VoxelScribble([(5, 7, 11), (9, 7, 11)])]))
        for action, result in (
            (("undo", {}), session.undo()),
            (("redo", {}), session.redo()),
            (("remove", {"index": 1}), session.remove(1)),
            (("move", {"index": 0, "x": 23 - 6, "y": 10}), session.move(0, 6, 7, 6)),
            (("reset", {}), session.reset()),
            (("undo", {}), session.undo()),
        ):
            page.do(action[0], **action[1])
            agrees(result)
        ((_, parts),) = read_frames(page.get("mask", cut="0,6", uncertainty="1").content)
        alpha = np.asarray(Image.open(io.BytesIO(parts[1])).convert("RGBA"))[..., 3]
        expected = 1 - np.abs(2 * session.result.probability[6] - 1)
        assert np.abs(alpha / 255 - axial(expected)).max() < 0.003 and np.ptp(alpha) > 100
        own = session.refiner.initial_step(None).result.mask[6]
        ((_, parts),) = read_frames(page.get("initial", cut="0,6").content)
        assert (opaque(parts[0]) == axial(own)).all()


def test_done_writes_the_mask_with_the_affine(deep, scan, tmp_path):
    other = tmp_path / "other.npy"
    np.save(other, volumes.random_volume(SIZE, seed=1))
    out = tmp_path / "out"
    with served(deep, [scan, other], out, volumes=True) as (client, _):
        page = VolumePage(client).click(*on_axial(8, 9))
        assert not list((out / "masks").iterdir())
        for number in (0, 1):
            response = client.post(f"/api/photos/{number}/status", json={"status": "done"})
            assert response.json()["status"] == "done"
        page.click(*on_axial(2, 2), positive=False)  # after it was done: the file follows
    session = deep.session(scan)
    session.click(8, 9, 6)
    result = session.click(2, 2, 6, positive=False)
    written = nibabel.load(out / "masks" / "scan.nii.gz")
    assert (written.affine == AFFINE).all() and written.shape == SIZE[::-1]
    assert (result.mask == np.asarray(written.dataobj).T).all()
    assert (np.load(out / "masks" / "other.npy") == deep.session(other).result.mask).all()
    stored = json.loads((out / "project.json").read_text())["photos"]
    assert {name: (each["key"], each["said"]) for name, each in stored.items()} == {
        "scan.nii.gz": ("scan", 2),
        "other.npy": ("other", 0),
    }


@pytest.mark.parametrize("kind", ["in space", "in slices"])
def test_a_killed_page_comes_back_with_the_same_masks(deep, scan, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("interactify.app.store.saver.QUIET", 1e9)
    monkeypatch.setattr("interactify.app.store.saver.MAX_DELAY", 1e9)
    net, path, place = (deep, scan, (8, 9)) if kind == "in space" else (slices.careful(), tmp_path / "box.npy", (9, 9))
    if kind == "in slices":
        np.save(path, slices.volume())
    out = tmp_path / "out"
    with served(net, [path], out, volumes=True) as (client, _):
        page = VolumePage(client)
        page.click(*place).click(1, 1, positive=False).click(3, 2, positive=False).do("undo")
        cuts = [f"0,{index}" for index in range(page.volume["planes"][0]["count"])]
        masks, states = [page.mask_at(cut) for cut in cuts], page.state["interactions"]
        killed = Killed(out)
    killed.happens()
    assert not (out / "sessions" / f"{path.name.split('.')[0]}.npz").exists(), "only the journal has the clicks"
    for _ in range(2):  # the second time from the session's file
        with served(net, [path], out, volumes=True) as (client, _):
            page = VolumePage(client)
            assert without_times(page.state["interactions"]) == without_times(states)
            assert all((page.mask_at(cut) == mask).all() for cut, mask in zip(cuts, masks, strict=True))
            assert page.state["can_redo"]
        assert (out / "sessions" / f"{path.name.split('.')[0]}.npz").exists()


def test_slices_under_a_network_of_images(tmp_path):
    net, path = slices.careful(), tmp_path / "box.npy"
    np.save(path, slices.volume())
    session = net.slices(slices.volume())
    with served(net, [path], tmp_path / "out", volumes=True) as (client, _):
        page = VolumePage(client)
        assert [each["name"] for each in page.volume["planes"]] == ["Slices"]
        page.click(9, 9)
        result = session.click(9, 9, 4)
        page.add("paint", points=[[7, 8], [15, 8]], width=3.0, positive=False)
        result = session.add([interactify.Paint([(7, 8), (15, 8)], 3.0, False)], at=4)
        assert result.carried, "it reaches the slices beside"
        assert all((page.mask_at(f"0,{z}") == result.mask_of(z)).all() for z in range(9))
        page.cut = "0,3"
        before = page.mask_at("0,3")
        page.add("paint", points=[[8, 8], [9, 8]], width=1.0, positive=False)
        expected = before.copy()
        expected[8, 8:10] = False
        assert (page.mask == expected).all(), "a stroke on a mask that was carried there changes that mask"
        page.do("undo")
        page.cut = "0,2"
        page.add("box", left=4, top=5, right=20, bottom=18)
        result = session.add([interactify.Box(4, 5, 20, 18)], at=2)
        assert [each["points"][0] for each in page.state["interactions"]] == [[9, 9, 4], [7, 8, 4], [4, 5, 2]]
        page.do("remove", index=0)
        result = session.remove(0)
        assert all((page.mask_at(f"0,{z}") == result.mask_of(z)).all() for z in range(9))
        assert client.get("/api/photos/0/mask?cut=1,3").status_code == 422


def test_what_makes_no_sense_is_refused(deep, scan, tmp_path):
    with served(deep, [scan], tmp_path / "out", volumes=True) as (client, _):
        page = VolumePage(client)
        click = {"kind": "click", "x": 3, "y": 3, "positive": True}
        for content, says in (
            ({"do": "add_object", "name": None, "target": None}, "add, remove, move, undo, redo, reset"),
            ({"do": "choose", "choice": "wide"}, "an action on a volume"),
            ({"do": "add", "interactions": [{**click, "x": 99}]}, "picture of 36 by 20"),
            ({"do": "add", "interactions": [{"kind": "paint", "points": [[1, 1]]}]}, "click, scribble, box, lasso"),
            ({"do": "add", "interactions": [{**click, "x": "a"}]}, "a number"),
            ({"do": "move", "index": 0, "x": None, "y": 2}, "x and y as numbers"),
            ({"do": "remove", "index": 5}, "no index"),
            ({"do": "undo", "more": 1}, "undo"),
            ([], "an action on a volume"),
        ):
            response = client.post("/api/photos/0/do", json=content, params={"cut": "0,6"})
            assert response.status_code == 422 and says in response.json()["error"], response.text
        box = {"do": "add", "interactions": [{"kind": "box", "left": 1, "top": 1, "right": 9, "bottom": 9}]}
        response = client.post("/api/photos/0/do", json=box, params={"cut": "1,6"})
        assert response.status_code == 422 and "coronal" in response.json()["error"]
        for cut in ("3,0", "0,12", "0", "-1,0", "0,1,2", "a,b"):
            assert client.get("/api/photos/0/slice", params={"cut": cut}).status_code == 422, cut
        for window in ("1", "2,1", "nan,3", "a,b"):
            assert client.get("/api/photos/0/slice", params={"window": window}).status_code == 422, window
        assert client.get("/api/photos/0/image").status_code == client.get("/api/export?kinds=png").status_code == 404
        assert client.post("/api/photos?name=a.png", content=b"x").status_code == 404
        assert page.do("undo").state["interactions"] == []


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"do": "move"},
        {"do": "move", "index": 0, "x": 1, "y": "a", "z": 2},
        {"do": "add"},
        {"do": "add", "interactions": [{"kind": "click"}]},
        {"do": "remove", "index": 9},
    ],
)
def test_a_damaged_action_of_a_journal_is_one_error_and_nothing_is_lost(deep, damaged):
    volume = interactify.Volume(np.random.default_rng(0).random((8, 10, 12), dtype=np.float32))
    with deep.session(volume) as session:
        before = session.click(3, 3, 3)
        opened = VolumeInSpace(session, ShownVolume.of(volume))
        with pytest.raises(InteractionError, match="Expected"):
            opened.stored(damaged).run(opened)
        assert session.result is before


def without_times(interactions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, "ms": 0} for each in interactions]


def axial(slice_of_mask: np.ndarray) -> np.ndarray:
    """The picture of an axial slice (20, 24): 36 columns, the front at the top, the right side at the left."""
    columns = ((np.arange(36) + 0.5) / 1.5).astype(int)
    return slice_of_mask[::-1, ::-1][:, columns]


def on_axial(x: int, y: int) -> tuple[int, int]:
    """A pixel of the picture of an axial slice that shows this voxel."""
    return int((23 - x) * 1.5 + 0.5), 19 - y
