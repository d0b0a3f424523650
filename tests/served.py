"""A page's server to test: in this process, in a thread of its own, or as the command that a person runs."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray
from PIL import Image

from interactify.app.frames import read_frames
from interactify.app.project import Project
from interactify.app.security import Door
from interactify.app.server import build
from interactify.wrap import Interactive

ROOT = Path(__file__).parent.parent


@contextmanager
def served(
    net: Interactive, photos: Sequence[Path], out: Path, host: str | None = None
) -> Iterator[tuple[httpx.Client, Door]]:
    """A running server, and a client that sends what the page sends."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    door = Door.opened(host, listening.getsockname()[1])
    app = build(net, Project.opened(photos, out), door)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=3))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{door.port}"
    with httpx.Client(base_url=base, headers={"Origin": base}, timeout=30) as client:
        yield client, door
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


class Command:
    """`interactify app` as a process. Used as a context, it is ended as Ctrl-C does."""

    def __init__(self, *words: str | Path, folder: Path | None = None) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "interactify.cli", "app", "--no-browser", "--port", "0", *map(str, words)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[-1]

    def kill(self) -> None:
        """As the system does where memory runs out: nothing is said before."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        assert self.process.stdout is not None
        self.process.stdout.close()


class Killed:
    """What is on the disk at a moment, brought back after the server has ended: as if it had been killed then."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.content = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def happens(self) -> None:
        for path in self.out.rglob("*"):
            if path.is_file() and path not in self.content:
                path.unlink()
        for path, content in self.content.items():
            path.write_bytes(content)


class Page:
    """What a page knows of a photo, pieced together from frames as the page does it."""

    def __init__(self, client: httpx.Client, number: int = 0) -> None:
        self.client, self.number = client, number
        self.masks: dict[str, NDArray[np.bool_]] = {}
        self.classes: NDArray[np.uint8] | None = None
        self.kinds: list[str] = []
        self.seen: NDArray[np.bool_] | None = None  # of what a screen shows, what came last
        self.told: dict[str, Any] = {}
        self.size = Image.open(io.BytesIO(client.get(self._at("image")).content)).size[::-1]
        self.take(client.get(self._at("state")))

    def _at(self, what: str) -> str:
        return f"{self.client.base_url}/api/photos/{self.number}/{what}"

    def do(self, what: str, see: str | None = None, **given: Any) -> Page:
        """An action; its frames are drawn. `see` is what the screen shows."""
        asked = {} if see is None else {"see": see}
        self.take(self.client.post(self._at("do"), json={"do": what, **given}, params=asked))
        return self

    def click(self, x: int, y: int, positive: bool = True, **more: Any) -> Page:
        return self.do("add", interactions=[{"kind": "click", "x": x, "y": y, "positive": positive, **more}])

    def take(self, response: httpx.Response) -> None:
        assert response.status_code == 200, response.text
        self.kinds = []
        for header, parts in read_frames(response.content):
            self.kinds.append(header["kind"])
            assert header["kind"] == "state" or header["base"] == self.told["serial"]
            for part, content in zip(header["parts"], parts, strict=True):
                self._put(part, content)
            self.told = {**self.told, **header}
        self.masks = {name: mask for name, mask in self.masks.items() if name in self.objects}

    def _put(self, part: dict[str, Any], content: bytes) -> None:
        left, top, width, height = part["box"]
        if part["layer"] == "seen":
            lengths = np.frombuffer(content, "<u4")
            values = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
            self.seen = values.reshape(-(-height // part["step"]), -(-width // part["step"]))
            return
        values = np.asarray(Image.open(io.BytesIO(content)))
        assert values.shape == (height, width)
        region = np.s_[top : top + height, left : left + width]
        if part["layer"] == "classes":
            self.classes = np.zeros(self.size, np.uint8) if self.classes is None else self.classes
            self.classes[region] = values
        else:
            self.masks.setdefault(part["name"], np.zeros(self.size, bool))[region] = values > 0

    @property
    def objects(self) -> list[str]:
        return [each["name"] for each in self.told["objects"]]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Of the object that is spoken of."""
        return self.masks[self.told["active"]]
