"""Replicas as processes over one store: one is killed in mid-click, the client goes on, and the masks are the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")
pytest.importorskip("uvicorn", reason="needs uvicorn: install interactify[serve]")

import interactify
from interactify import client
from tests.fixtures import networks
from tests.fixtures.service import ANA, ROOT, Replica, redis_server


@contextlib.contextmanager
def store_of(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield str(folder / "sessions.db")
    else:
        with redis_server(folder) as address:
            yield address


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_replica_is_killed_in_mid_click(kind, tmp_path, pictures):
    local = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=5).session(pictures[0])
    points = [(55, 30, True), (5, 5, False), (90, 60, False), (40, 40, True), (20, 10, False)]
    with store_of(kind, tmp_path) as store, Replica(tmp_path, store) as first, Replica(tmp_path, store) as second:
        session = client.connect([first.address, second.address], patience=30).session(pictures[0])
        for point in points[:2]:
            session.click(*point)
        killed = threading.Event()

        def kill_in_mid_click() -> None:
            # The click is being refined: the queue of its replica is not empty.
            while not killed.is_set() and "interactify_waiting 0.0" in _numbers(first.address):
                time.sleep(0.001)
            first.kill()
            killed.set()

        killer = threading.Thread(target=kill_in_mid_click)
        killer.start()
        results = []
        while True:
            results.append(session.click(*points[2]))
            if killed.is_set():
                break
            session.undo()
        killer.join(30)
        assert killed.is_set() and first.process.poll() is not None
        for point in points[3:]:
            results.append(session.click(*point))
        # What was answered is in the log, once each; the log gives the same masks here, and at the other replica.
        assert [(each.x, each.y, each.positive) for each in session.interactions][:2] == points[:2]
        again = interactify.replay(session.log(), local.net, pictures[0])
        assert (again.result.mask == session.result.mask).all()
        for point in points:
            local.click(*point)
        clicks = [(each.x, each.y, each.positive) for each in session.interactions]
        assert clicks == points and (local.result.mask == session.result.mask).all()
        resumed = client.connect(second.address).resume(session.id, session.token, heartbeat=False)
        assert (resumed.result.mask == local.result.mask).all() and resumed.interactions == local.interactions
        session.close()


@contextlib.contextmanager
def proxied(tmp_path: Path, seconds: int = 30) -> Iterator[tuple[str, tuple[Replica, Replica]]]:
    """Two replicas behind the proxy of deploy/compose.yaml, which waits so many seconds for an answer."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("needs nginx, for instance Debian's package of that name")
    store, keys = str(tmp_path / "sessions.db"), tmp_path / "keys"
    keys.write_text(f"ana:{ANA}\n")
    with (
        Replica(tmp_path, store, "--keys", str(keys)) as first,
        Replica(tmp_path, store, "--keys", str(keys)) as second,
        socket.socket() as free,
    ):
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        for given, own in (
            ("listen 8348", f"listen 127.0.0.1:{port}"),
            ("first:8348", first.address.removeprefix("http://")),
            ("second:8348", second.address.removeprefix("http://")),
            ("/tmp/nginx", str(tmp_path / "nginx")),
            ("proxy_read_timeout 30s", f"proxy_read_timeout {seconds}s"),
        ):
            assert given in text
            text = text.replace(given, own)
        (tmp_path / "nginx.conf").write_text(text)
        command = [
            nginx,
            "-c",
            str(tmp_path / "nginx.conf"),
            "-g",
            f"daemon off; {'user root;' if os.geteuid() == 0 else ''}",
        ]
        proxy = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port}", (first, second)
        finally:
            proxy.terminate()
            proxy.wait(10)


def _with_two_actions(replicas: tuple[Replica, Replica]) -> Replica:
    """The replica that a session of two actions is at."""
    (found,) = [each for each in replicas if 'route="act",status="200"} 2.0' in _numbers(each.address)]
    return found


@pytest.mark.slow
def test_behind_a_proxy_the_other_replica_goes_on(tmp_path, pictures):
    with proxied(tmp_path) as (address, replicas):
        session = client.connect(address, ANA, patience=30).session(pictures[0])
        masks = [session.click(55, 30).mask, session.click(5, 5, False).mask]
        _with_two_actions(replicas).kill()
        found = session.click(90, 60, False)
        assert found.number == 3 and (session.undo().mask == masks[-1]).all()
        session.close()


@pytest.mark.slow
def test_behind_a_proxy_the_other_replica_goes_on_for_one_that_hangs(tmp_path, pictures):
    with proxied(tmp_path, seconds=4) as (address, replicas):
        session = client.connect(address, ANA, patience=60).session(pictures[0], heartbeat=False)
        masks = [session.click(55, 30).mask, session.click(5, 5, False).mask]
        hangs = _with_two_actions(replicas)
        hangs.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            found = session.click(90, 60, False)
            assert 4 <= time.monotonic() - began < 30 and found.number == 3
            began = time.monotonic()
            assert (session.undo().mask == masks[-1]).all()
            assert time.monotonic() - began < 4, "the proxy knows that it is away, and does not ask it"
        finally:
            hangs.process.send_signal(signal.SIGCONT)
        assert [entry["n"] for entry in session.actions()] == [1, 2, 3, 4], "what it takes up again is made once"
        session.close()


def _numbers(address: str) -> str:
    try:
        return httpx.get(f"{address}/metrics", trust_env=False).text
    except httpx.TransportError:
        return ""


def test_it_ends_after_the_actions_that_have_come(tmp_path, pictures):
    with Replica(tmp_path, str(tmp_path / "sessions.db")) as replica:
        session = client.connect(replica.address, patience=1).session(pictures[0], heartbeat=False)
        # The job that opened it counts for a moment more.
        while "interactify_waiting 0.0" not in _numbers(replica.address):
            time.sleep(0.001)
        found: list[client.Result] = []
        clicking = threading.Thread(target=lambda: found.append(session.click(55, 30)))
        clicking.start()
        while "interactify_waiting 0.0" in _numbers(replica.address) and not found:
            time.sleep(0.001)
        assert replica.end() == 0
        clicking.join(10)
        assert found and found[0].number == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "Expected API keys"),
        (["--store", "mongodb://x"], "Expected a store"),
        (["--network", "a b=zoo"], "Expected --network NAME=MODEL"),
        (["--max-sessions", "0"], "Expected sessions"),
        (["--photos", "/nowhere/x"], "Expected a folder of photos"),
        (["--max-megapixels", "1000"], "--max-megapixels up to 150"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_line(tmp_path, monkeypatch, capsys, words, message):
    from interactify.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERACTIFY_KEYS", raising=False)
    assert main(["serve", "--port", "0", "--model", "zoo", *words]) == 2
    assert message in capsys.readouterr().err
