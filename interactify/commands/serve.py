"""`interactify serve`: its arguments, and the service that it runs."""

from __future__ import annotations

import argparse
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interactify.commands.app import bound
from interactify.commands.network_options import add_device_option, add_network_options, network
from interactify.errors import OptionError, extra

if TYPE_CHECKING:  # at run time it would load torch, and `interactify --help` reads this module
    from interactify.interactive import Interactive
    from interactify.serve.keys import Keys
    from interactify.serve.limits import Limits

PORT: Final = 8348
STORE: Final = "interactify-sessions.db"
KEYS: Final = "INTERACTIFY_KEYS"
DEFAULT: Final = "default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="listen at this address (%(default)s)")
    parser.add_argument("--port", type=int, metavar="N", default=PORT, help="listen at this port (%(default)s)")
    parser.add_argument(
        "--store", metavar="STORE", default=STORE,
        help="where sessions outlive this process: a path, for an SQLite file (%(default)s), or "
        "redis://HOST:PORT/NUMBER for replicas on several machines",
    )  # fmt: skip
    parser.add_argument(
        "--keys", type=Path, metavar="FILE",
        help=f"API keys, a line NAME:KEY each; or in the environment, as {KEYS}, separated by commas. Beyond the "
        "loopback address they are needed",
    )  # fmt: skip
    parser.add_argument(
        "--network", action="append", default=[], metavar="NAME=MODEL", dest="networks",
        help=f"another network, which clients ask for by its name; --model's is called {DEFAULT!r}. All get the same "
        "options; repeat it for more",
    )  # fmt: skip
    parser.add_argument(
        "--photos", action="append", default=[], type=Path, metavar="FOLDER",
        help="photos below this folder may be opened by their paths; repeat it for more",
    )  # fmt: skip
    group = parser.add_argument_group("limits")
    for name, kind, usual, text in (
        ("--max-sessions", int, 200, "sessions that have a place at one time, over all replicas of the store"),
        ("--in-memory", int, 32, "sessions that this replica keeps in memory; others are replayed when needed"),
        ("--liveness", float, 60, "seconds without a request, or a heartbeat, after which a session loses its place"),
        ("--idle", float, 1800, "seconds without an action after which a session loses its place"),
        ("--keep-days", float, 30, "days after its last action that a session stays in the store"),
        ("--max-megabytes", float, 64, "of a photo's file"),
        ("--max-megapixels", float, 50, "of a photo"),
    ):
        group.add_argument(name, type=kind, metavar="N", default=usual, help=f"{text} (%(default)s)")
    group = parser.add_argument_group("on a processor")
    group.add_argument(
        "--workers", type=int, metavar="N",
        help="sessions whose refinements run at one time (by default as many as there are cores for); 1 for networks "
        "that keep something of a pass, and on a GPU",
    )  # fmt: skip
    group.add_argument("--threads", type=int, metavar="N", default=1, help="threads of each refinement (%(default)s)")
    add_device_option(parser)
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Serve until the process is told to end; returns the exit status."""
    for package in ("anyio", "prometheus_client", "starlette", "uvicorn"):
        if find_spec(package) is None:
            raise OptionError(f"The service needs {package}, which is not installed. Try {extra('serve')}.")
    # Not at the top: these need the optional packages, and load torch.
    from interactify.serve import running
    from interactify.serve.service import Service
    from interactify.serve.store.opening import open_store

    keys, limits = keys_of(given), limits_of(given)
    with bound(given.host, given.port) as listening:
        store = open_store(given.store)
        try:
            service = Service(networks_of(given), store, limits)
            host, port = listening.getsockname()[:2]
            print(f"interactify: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
            names, at_once = ", ".join(service.networks), service.at_once
            print(f"interactify: {names}; {at_once} at once; the API: /openapi.json; Ctrl-C ends", file=sys.stderr)
            running.run(service, keys, listening)
        finally:
            store.close()
    return 0


def keys_of(given: argparse.Namespace) -> Keys:
    """The API keys of a command line, or of the environment; none for the loopback address alone.

    Raises OptionError where the service listens beyond it, and there are none.
    """
    from interactify.serve.keys import Keys

    if given.keys is not None:
        return Keys.of_file(given.keys)
    if os.environ.get(KEYS, "").strip():
        return Keys.read(re.split(r"[,\n]", os.environ[KEYS]))
    if given.host not in ("127.0.0.1", "localhost", "::1"):
        raise OptionError(
            f"Expected API keys for a service that listens at {given.host}, got none. Try --keys FILE, a line such as "
            "ana:KEY for each user."
        )
    return Keys()


def limits_of(given: argparse.Namespace) -> Limits:
    """The limits of a command line. Raises OptionError for values that are none."""
    from interactify.serve.limits import Limits

    if not 0 < given.max_megabytes <= 1024 or not 0 < given.max_megapixels <= 150:
        raise OptionError(
            f"Expected --max-megabytes up to 1024 and --max-megapixels up to 150, got {given.max_megabytes:g} and "
            f"{given.max_megapixels:g}."
        )
    return Limits(
        sessions=given.max_sessions,
        in_memory=given.in_memory,
        liveness=given.liveness,
        idle=given.idle,
        keep=given.keep_days * 86400,
        file_bytes=int(given.max_megabytes * 2**20),
        pixels=int(given.max_megapixels * 1e6),
        workers=given.workers,
        threads=given.threads,
        folders=given.photos,
    )


def networks_of(given: argparse.Namespace) -> dict[str, Interactive]:
    """The networks of a command line by their names. Raises as `network`, and OptionError for names that are none."""
    named = {DEFAULT: given.model}
    for text in given.networks:
        name, _, model = text.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) or not model or name in named:
            raise OptionError(f"Expected --network NAME=MODEL with a new name, got {text!r}. Try clicks=clicks.")
        named[name] = model
    return {name: network(argparse.Namespace(**{**vars(given), "model": model})) for name, model in named.items()}
