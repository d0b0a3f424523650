"""How an application is served, by uvicorn, until the process is told to end."""

from __future__ import annotations

import socket
import sys

import uvicorn
from starlette.types import ASGIApp


def run(app: ASGIApp, listening: socket.socket, *, keep_alive: int, grace: int) -> None:
    """Serve on a socket.

    Args:
        app: the application.
        listening: the socket, bound.
        keep_alive: seconds that an unused connection stays open.
        grace: seconds that requests which have come may take when the process is told to end.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=grace,
        timeout_keep_alive=keep_alive,
        h11_max_incomplete_event_size=16 * 1024,
        limit_concurrency=2000,
    )
    # So that requests are read while the network runs, and a finished mask does not wait for threads that save files.
    sys.setswitchinterval(0.001)
    uvicorn.Server(config).run(sockets=[listening])
