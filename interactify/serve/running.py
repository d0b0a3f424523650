"""The server of a service: it runs until it is told to end, and then makes the actions that wait."""

from __future__ import annotations

import signal
import socket
from typing import Final

from interactify.serve.keys import Keys
from interactify.serve.server import build
from interactify.serve.service import Service
from interactify.web import running

GRACE: Final = 20  # seconds that requests which have come may take when the server is told to end
KEEP_ALIVE: Final = 75  # seconds: longer than proxies keep an unused connection, so that they end it


def run(service: Service, keys: Keys, listening: socket.socket) -> None:
    """Serve on a socket until the process gets SIGTERM or SIGINT."""
    # When it has ended, uvicorn raises the signal again, which would kill the process before the store is closed.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        running.run(build(service, keys), listening, keep_alive=KEEP_ALIVE, grace=GRACE)
    finally:
        signal.signal(signal.SIGTERM, before)
