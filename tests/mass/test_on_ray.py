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
from interactify.errors import InteractifyError, OptionError
from interactify.evaluation.campaign import Campaign
from interactify.evaluation.campaign import run as run_campaign
from interactify.mass import Local, NetworkRecipe, refine_photos
from tests.fixtures.many_photos import DEADLY, MODEL, SLOW, write_clicks, write_photos, write_white
from tests.fixtures.works import CountedWork, Noting

MEMORY = 80 * 2**20  # bytes of each node's object store, the least that Ray takes
NODE = {"num_cpus": 1, "object_store_memory": MEMORY, "env_vars": {"INTERACTIFY_TEST_SLOW": "0.03"}}
OPTIONS = {"mean": 0.4, "std": 0.3, "resolution": 64}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs nothing, and two nodes of one core. A lost one is noticed after five seconds."""
    pytest.importorskip("ray.data", reason="needs Ray Data: pip install -e '.[ray]'")  # which takes seconds to read
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    health = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False, "_system_config": health}
    started = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        started.add_node(wait=False, **NODE)
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


def test_a_cluster_gives_the_masks_of_one_process_though_a_photo_ends_its_actor(cluster: Any, tmp_path: Path) -> None:
    import ray

    names = write_photos(tmp_path / "photos", 4)
    prompts = write_clicks(tmp_path / "a.csv", names)
    formats, recipe = ["png", "npy"], NetworkRecipe(DEADLY, OPTIONS)
    photos, outs = str(tmp_path / "photos"), (tmp_path / "here", tmp_path / "there")
    here = refine_photos(recipe, photos, str(prompts), str(outs[0]), formats=formats, progress=False)
    write_white(tmp_path / "photos/000-white.png")
    with prompts.open("a") as table:
        table.write("000-white.png,3,3,1,,,,\n")
    engine = OnRay(cluster.address, block=2, retries=0)
    there = refine_photos(recipe, photos, str(prompts), str(outs[1]), formats=formats, engine=engine, progress=False)
    (error,) = there.errors
    assert error["photo"] == "000-white.png" and error["error"] == "its actor ended, 1 times in 1"
    assert timeless(row for row in there.rows if not row["error"]) == timeless(here.rows)
    assert masks(outs[1]) == masks(outs[0]) and len(masks(outs[0])) == 16
    assert not ray.is_initialized(), "what was not connected before is left so"


def test_items_end_once_though_actors_end_with_them(cluster: Any, tmp_path: Path) -> None:
    work = CountedWork(tmp_path / "calls")
    items = ["a", "die", "b", "die once", *"cdefgh"]
    found = list(OnRay(cluster.address, block=2, retries=1).run(work, items))
    assert sorted(each.number for each in found) == list(range(len(items)))
    assert [(items[each.number], each.lost) for each in found if each.answer is None] == [
        ("die", "its actor ended, 2 times in 2")
    ]
    assert [work.counted(item) for item in items] == [1, 2, 1, 2, 1, 1, 1, 1, 1, 1], "what was done is not done again"
    with pytest.raises(OptionError, match="something else"):
        list(OnRay(cluster.address, workers=1).run(work, ["raise"]))


def test_a_slow_item_holds_up_no_more_than_the_block_behind_it(cluster: Any, tmp_path: Path) -> None:
    work = CountedWork(tmp_path / "calls")
    items = ["wait 9", *"abcdefghi"]
    found = list(OnRay(cluster.address, workers=2, block=1).run(work, items))
    # It has waited until eight others had begun; else it would have raised an error after a minute.
    assert len(found) == 10 and all(each.answer for each in found)


def test_actors_that_never_start_end_the_run(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(InteractifyError, match="ended 2 times before it was ready"):
        list(OnRay(cluster.address, workers=1).run(CountedWork(tmp_path / "calls", dies_at_start=True), ["a"]))


def test_what_a_cluster_has_no_room_for_is_refused(cluster: Any, tmp_path: Path) -> None:
    work = CountedWork(tmp_path / "calls")
    with pytest.raises(OptionError, match="1 GPU"):
        list(OnRay(cluster.address, gpus=1).run(work, ["a"]))
    with pytest.raises(OptionError, match="items in a block"):
        list(OnRay(cluster.address, block=0).run(work, ["a"]))
    with pytest.raises(OptionError, match="CPUs"):
        list(OnRay(cluster.address, cpus=-1).run(work, ["a"]))
    assert not work.calls.exists()


def test_nothing_is_lost_with_a_node(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three actors, of whose three nodes one is killed for good: what it had begun goes to the others."""
    names = write_photos(tmp_path / "photos", 24)
    photos, prompts = str(tmp_path / "photos"), str(write_clicks(tmp_path / "a.csv", names))
    recipe, calls = NetworkRecipe(SLOW, OPTIONS), tmp_path / "calls"
    extra = cluster.add_node(**NODE)

    def lose_the_node() -> None:
        CountedWork(calls).wait(10, seconds=240)
        cluster.remove_node(extra, allow_graceful=False)

    losing = threading.Thread(target=lose_the_node)
    losing.start()
    engine = Noting(OnRay(cluster.address, workers=3, block=2), calls)
    there = refine_photos(recipe, photos, prompts, str(tmp_path / "there"), engine=engine, progress=False)
    losing.join()
    here = refine_photos(recipe, photos, prompts, str(tmp_path / "here"), progress=False)
    assert timeless(there.rows) == timeless(here.rows) and not there.errors
    assert masks(tmp_path / "there") == masks(tmp_path / "here") and len(masks(tmp_path / "here")) == 48
    begun = calls.read_text().splitlines()
    assert len(set(begun)) == 24 and len(begun) <= 25, "only the photo that the node had in hand is done again"


def test_a_killed_driver_goes_on(cluster: Any, tmp_path: Path) -> None:
    names = write_photos(tmp_path / "photos", 16)
    prompts, out = write_clicks(tmp_path / "a.csv", names), tmp_path / "out"
    words = [
        "batch", str(tmp_path / "photos"), "--prompts", str(prompts), "--out", str(out), "--model", SLOW,
        "--mean", "0.4", "--std", "0.3", "--resolution", "64", "--engine", "ray", "--block", "1",
        "--address", cluster.address,
    ]  # fmt: skip
    driver = subprocess.Popen([sys.executable, "-m", "interactify.cli", *words], stderr=subprocess.DEVNULL)
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
