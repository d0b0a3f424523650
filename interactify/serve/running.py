"""The server of a service: it runs until it is told to end, and then makes the actions that wait."""

from __future__ import annotations

import signal
import socket
import sys
from typing import Final

import uvicorn

from interactify.serve.keys import Keys
from interactify.serve.server import build
from interactify.serve.service import Service

GRACE: Final = 20  # seconds that requests which have come may take when the server is told to end


def run(service: Service, keys: Keys, listening: socket.socket) -> None:
    """Serve on a socket until the process gets SIGTERM or SIGINT."""
    config = uvicorn.Config(
        build(service, keys),
        log_level="warning",
        access_log=False,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=75,  # longer than proxies keep an unused connection, so that they end it and not this server
        h11_max_incomplete_event_size=16 * 1024,
        limit_concurrency=2000,
    )
    sys.setswitchinterval(0.001)  # so that requests are read while the network runs
    # When it has ended, uvicorn raises the signal again, which would kill the process before the store is closed.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
