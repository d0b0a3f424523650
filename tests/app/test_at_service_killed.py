"""The page and the service whose network it uses, as processes: each is killed in mid-click."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")

import interactify
from tests.app.test_server import GESTURES
from tests.fixtures import networks
from tests.fixtures.served import Command, Page, wait_until_listening
from tests.fixtures.service import Replica

SLOW = ("--max-evaluations", "5", "--resolution", "256")  # so that a click takes long enough to be in its middle


def opened(address: str) -> Page:
    wait_until_listening(address)
    base = address.rstrip("/")
    return Page(httpx.Client(base_url=base, headers={"Origin": base}, timeout=60))


def begun(page: Page, gesture: str, service: Replica) -> threading.Thread:
    """A thread that sends a gesture; the service refines it now."""

    def sends() -> None:
        with suppress(httpx.TransportError):  # the page is killed
            page.do("add", interactions=[GESTURES[gesture]])

    count, thread = len(page.state["interactions"]), threading.Thread(target=sends, daemon=True)
    thread.start()
    while "interactify_waiting 0.0" in httpx.get(f"{service.address}/metrics", trust_env=False).text:
        assert len(page.state["interactions"]) == count
        time.sleep(0.001)
    return thread


def test_both_processes_are_killed_in_mid_click(pictures, tmp_path):
    local = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=5, resolution=256).session(pictures[0])
    out, store = tmp_path / "out", str(tmp_path / "sessions.db")
    with Replica(tmp_path, store, *SLOW) as service:
        words = (pictures[0], "--out", out, "--server", service.address)
        with Command(*words, folder=tmp_path) as command:
            page = opened(command.address)
            masks = [page.click(55, 30).mask.copy()]
            clicking = begun(page, "negative click", service)
            service.kill()
            while not page.client.get("/api/service").json()["trouble"]:
                assert len(page.state["interactions"]) == 1
            with Replica(tmp_path, store, *SLOW, "--port", service.address.rsplit(":", 1)[1]) as again:
                assert again.address == service.address
                clicking.join(60)
                masks.append(page.mask.copy())
                begun(page, "box", again)
                command.kill()
                with Command(*words, folder=tmp_path) as second:
                    page = opened(second.address)
                    assert page.client.get("/api/service").json() == {"trouble": ""}
                    assert len(page.state["interactions"]) == 3
    gestures = [GESTURES[name] for name in ("click", "negative click", "box")]
    expected = [local.add([interactify.interaction_from_json(each)]).mask for each in gestures]
    assert all((one == other).all() for one, other in zip([*masks, page.mask], expected, strict=True))
    assert (np.asarray(Image.open(out / "masks" / "first" / "1-object-1.png")) == expected[-1] * 255).all()
