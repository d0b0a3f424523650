"""A page whose network is at a service runs no network, and loads no package that only networks need."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")

from tests.fixtures.service import ROOT, serving

# Runs `interactify app` with the arguments after the first, asks what a browser asks, and prints what was loaded.
PAGE = """
import builtins, json, os, sys, threading, time
import httpx
from interactify.cli import main

told = []
builtins.print = lambda *values, **more: told.append(" ".join(map(str, values)))

def browse():
    while not told:
        time.sleep(0.01)
    base = told[0].split()[-1].rstrip("/")
    page = httpx.Client(base_url=base, headers={"Origin": base}, timeout=60)
    for _ in range(300):
        try:
            page.get("/")
            break
        except httpx.TransportError:
            time.sleep(0.05)
    photo, click = "/api/photos/0", {"kind": "click", "x": 40, "y": 30, "positive": True}
    upload = page.get(f"{photo}/image").content
    kinds = ",".join(each["name"] for each in page.get("/api/project").json()["exports"])
    answers = [page.get("/api/project"), page.get(f"{photo}/thumb"), page.get(f"{photo}/state"),
               page.get(f"{photo}/initial"),
               page.post(f"{photo}/do?viewport=0,0,50,40,3", json={"do": "add", "interactions": [click]}),
               page.post(f"{photo}/do", json={"do": "choose", "choice": "wide"}),
               page.post("/api/photos?name=more.jpg", content=upload),
               page.post(f"{photo}/status", json={"status": "done"}),
               page.get(f"/api/export?photo=0&kinds={kinds}"), page.get("/api/export?kinds=coco,png")]
    loaded = [name for name in ("torch", "timm", "segmentation_models_pytorch", "torchvision")
              if name in sys.modules]
    sys.stdout.write(json.dumps({"answers": [each.status_code for each in answers], "loaded": loaded}))
    sys.stdout.flush()
    os._exit(0)

threading.Thread(target=browse, daemon=True).start()
main(sys.argv[1:])
"""


@pytest.mark.parametrize("embedded", [False, True])
def test_the_page_at_a_service_loads_no_torch(net, pictures, tmp_path, embedded):
    photo = [] if embedded else [str(pictures[0])]
    given = ["app", *photo, "--out", str(tmp_path / "out"), "--no-browser", "--port", "0", "--server"]
    with serving(net, tmp_path / "s.db") as (address, _):
        found = subprocess.run(
            [sys.executable, "-c", PAGE, *given, address],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert found.returncode == 0, found.stderr
    shown = json.loads(found.stdout)
    assert set(shown["answers"]) == {200, 201}, shown
    assert shown["loaded"] == []
