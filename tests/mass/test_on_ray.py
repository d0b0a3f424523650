"""A real Ray cluster of several nodes on this machine, whose actors, nodes and drivers end in mid-run."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interactify.engines import OnRay
from interactify.errors import OptionError
from interactify.evaluation.campaign import Campaign
from interactify.evaluation.campaign import run as run_campaign
from interactify.mass import Local, NetworkRecipe, refine_photos
from tests.fixtures.many_photos import DEADLY, MODEL, SLOW, write_clicks, write_photos, write_white
from tests.fixtures.works import CountedWork

ray = pytest.importorskip("ray", reason="needs Ray: pip install -e '.[ray]'")
pytest.importorskip("ray.data", reason="needs Ray Data: pip install -e '.[ray]'")
MEMORY = 80 * 2**20  # bytes of each node's object store, the least that Ray takes
OPTIONS = {"mean": 0.4, "std": 0.3, "resolution": 64}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs nothing, and two nodes of one core."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    started = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False},
    )
    for _ in range(2):
        started.add_node(wait=False, num_cpus=1, object_store_memory=MEMORY)
    started.wait_for_nodes()
    # One of Ray's handlers leaves a debug record whose arguments no longer fit its message, which pytest's raises.
    logging.disable(logging.DEBUG)
    yield started
    logging.disable(logging.NOTSET)
    started.shutdown()


def timeless(rows: Any) -> list[dict[str, Any]]:
    return [{**row, "seconds": 0, "photo_seconds": 0} for row in rows]


def masks(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "masks").iterdir()}


def test_a_cluster_gives_the_masks_of_one_process_though_a_photo_ends_its_actors(cluster: Any, tmp_path: Path) -> None:
    """The only quick one: `make test` runs it where Ray is installed, `make test-ray` all of them."""
    names = write_photos(tmp_path / "photos", 5)
    prompts = str(write_clicks(tmp_path / "a.csv", names))
    photos, formats = str(tmp_path / "photos"), ["png", "npy"]
    here = refine_photos(
        NetworkRecipe(DEADLY, OPTIONS),
        photos,
        prompts,
        str(tmp_path / "here"),
        formats=formats,
        engine=Local(0),
        progress=False,
    )
    write_white(tmp_path / "photos/0-white.png")
    with (tmp_path / "a.csv").open("a") as table:
        table.write("0-white.png,3,3,1,,,,\n")
    there = refine_photos(
        NetworkRecipe(DEADLY, OPTIONS), photos, prompts, str(tmp_path / "there"), formats=formats, progress=False,
        engine=OnRay(cluster.address, block=2, retries=1),
    )  # fmt: skip
    (error,) = there.errors
    assert error["photo"] == "0-white.png" and "its actor ended" in error["error"]
    digest_free = [{**row, "prompts": ""} for row in timeless(there.rows) if not row["error"]]
    assert [(row["photo"], row["area"], row["uncertainty"], row["evaluations"]) for row in digest_free] == [
        (row["photo"], row["area"], row["uncertainty"], row["evaluations"]) for row in here.rows
    ]
    assert masks(tmp_path / "there") == masks(tmp_path / "here") and len(masks(tmp_path / "here")) == 20
    assert not ray.is_initialized(), "what was not connected before is left so"


@pytest.mark.slow
def test_items_end_once_though_actors_end_with_them(cluster: Any, tmp_path: Path) -> None:
    work = CountedWork(tmp_path / "calls")
    items = ["sleep", "a", "b", "die", "die once", *"cdefgh"]
    found = list(OnRay(cluster.address, block=2, retries=1).run(work, items))
    assert sorted(each.number for each in found) == list(range(len(items)))
    assert [items[each.number] for each in found if each.answer is None] == ["die"]
    assert work.counted("die") == 2 and work.counted("die once") == 2
    with pytest.raises(OptionError, match="something else"):
        list(OnRay(cluster.address, workers=1).run(work, ["raise"]))


@pytest.mark.slow
def test_what_a_cluster_has_no_room_for_is_refused(cluster: Any, tmp_path: Path) -> None:
    work = CountedWork(tmp_path / "calls")
    with pytest.raises(OptionError, match="1 GPU"):
        list(OnRay(cluster.address, gpus=1).run(work, ["a"]))
    with pytest.raises(OptionError, match="items in a block"):
        list(OnRay(cluster.address, block=0).run(work, ["a"]))
    with pytest.raises(OptionError, match="CPUs"):
        list(OnRay(cluster.address, cpus=-1).run(work, ["a"]))
    assert not work.calls.exists()


@pytest.mark.slow
def test_nothing_is_lost_with_a_node(cluster: Any, tmp_path: Path) -> None:
    work = CountedWork(tmp_path / "calls", takes=0.3)
    items = [f"item {k}" for k in range(40)]
    extra = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    removing = threading.Thread(target=cluster.remove_node, args=(extra, False))
    found = []
    for finished in OnRay(cluster.address, workers=3, block=2).run(work, items):
        found.append(finished)
        if len(found) == 8:
            removing.start()
    removing.join()
    assert sorted(each.number for each in found) == list(range(40))
    assert all(each.answer for each in found)
    assert max(work.counted(item) for item in items) <= 2


@pytest.mark.slow
def test_a_killed_driver_goes_on(cluster: Any, tmp_path: Path) -> None:
    names = write_photos(tmp_path / "photos", 16)
    prompts, out = write_clicks(tmp_path / "a.csv", names), tmp_path / "out"
    words = [
        "batch", str(tmp_path / "photos"), "--prompts", str(prompts), "--out", str(out), "--model", SLOW,
        "--mean", "0.4", "--std", "0.3", "--resolution", "64", "--engine", "ray", "--block", "1",
        "--address", cluster.address,
    ]  # fmt: skip
    slowly = {**os.environ, "INTERACTIFY_TEST_SLOW": "0.05"}
    driver = subprocess.Popen([sys.executable, "-m", "interactify.cli", *words], env=slowly, stderr=subprocess.DEVNULL)
    manifest = out / "manifest.jsonl"
    limit = time.monotonic() + 240
    while not manifest.exists() or manifest.read_bytes().count(b"\n") < 6:
        assert driver.poll() is None and time.monotonic() < limit
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = manifest.read_bytes().rpartition(b"\n")[0].splitlines()
    assert len(before) < 32, "it was killed in mid-run"
    done = subprocess.run(
        [sys.executable, "-m", "interactify.cli", *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert len({(row["photo"], row["object"]) for row in rows}) == len(rows) == 32
    whole = [
        line for line in before if sum(json.loads(line)["photo"] == json.loads(each)["photo"] for each in before) == 2
    ]
    assert set(whole) <= set(manifest.read_bytes().splitlines()), "what was done was not done again"
    recipe = NetworkRecipe(SLOW, OPTIONS)
    here = refine_photos(recipe, str(tmp_path / "photos"), str(prompts), str(tmp_path / "here"), engine=Local(0))
    assert timeless(rows) == timeless(here.rows) and masks(out) == masks(tmp_path / "here")


@pytest.mark.slow
def test_an_evaluation_on_a_cluster_has_the_records_of_one_here(cluster: Any, tmp_path: Path) -> None:
    names = write_photos(tmp_path / "data/images", 4)
    (tmp_path / "data/masks").mkdir()
    truth = np.zeros((40, 60), np.uint8)
    truth[8:30, 10:40] = 255
    for name in names:
        Image.fromarray(truth).save(tmp_path / "data/masks" / name)

    def records(out: str, **options: Any) -> list[dict[str, Any]]:
        campaign = Campaign("folder", tmp_path / "data", tmp_path / out, MODEL, OPTIONS, clicks=3)
        found = run_campaign(campaign, progress=False, **options).evaluation.records
        return [{**record.to_json(), "seconds": []} for record in found]

    assert records("there", engine=OnRay(cluster.address, block=1)) == records("here")
