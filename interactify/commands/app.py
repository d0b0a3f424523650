"""`interactify app`: its arguments, and the server that it runs."""

from __future__ import annotations

import argparse
import math
import socket
import sys
import threading
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from interactify.commands.network_options import add_network_options, network, options
from interactify.commands.server_options import add_server_options, service
from interactify.errors import OptionError, extra

if TYPE_CHECKING:  # at run time it would load torch, and `interactify --help` reads this module
    from interactify.app.at_service import AtService
    from interactify.app.lessons import Plan
    from interactify.app.store.project import Project
    from interactify.interactive import Interactive

PORT: Final = 8347  # the first that is tried
GRACE: Final = 3  # seconds that requests may take when it is interrupted
KEEP_ALIVE: Final = 600  # seconds: users look at a mask for longer than the usual five


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "path",
        metavar="PHOTO, VOLUME or FOLDER",
        nargs="?",
        help="a picture file, or a folder of them (the embedded photos); or volumes: .nii, .nii.gz, .tif, .npy, .zarr, "
        "or a folder of DICOM files",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder for masks, labels, COCO JSON and sessions (interactify-out beside the photos)",
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="listen at this address, not only at the computer's loopback address; browsers then need a token, which "
        "is printed once",
    )
    parser.add_argument("--port", type=int, metavar="N", help=f"listen at this port (the first free one from {PORT})")
    parser.add_argument("--no-browser", action="store_true", help="don't open the page; print its address")
    parser.add_argument(
        "--slices", action="store_true",
        help="with a network of images, open volumes, TIFF stacks too, slice by slice; without it, files that are "
        "surely volumes are opened so, and TIFF files are photos",
    )  # fmt: skip
    parser.add_argument(
        "--teach", action="store_true",
        help="while you work, learn from the photos that are done, after every five; new photos get the new weights if "
        "these are better on photos that were held back",
    )  # fmt: skip
    parser.add_argument(
        "--order", choices=("name", "uncertain"), default="name",
        help="the next photo after one that is done: by name, or the one on which the network is least certain "
        "(%(default)s)",
    )  # fmt: skip
    add_network_options(parser)
    add_server_options(parser)


def run(given: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; returns the exit status."""
    for package in ("anyio", "starlette", "uvicorn"):
        if find_spec(package) is None:
            raise OptionError(f"The page needs {package}, which is not installed. Try {extra('app')}.")
    # Not at the top: these need the optional packages; what loads torch is imported where the network is built.
    from interactify.app.at_service import AtService
    from interactify.app.security import Access
    from interactify.app.store.folder_lock import folder_lock
    from interactify.app.store.project import Project, photos_of, volumes_of
    from interactify.app.volumes.paths import surely_volumes

    there = service(given, patience=math.inf)
    if there is not None and (given.teach or given.order != "name"):
        raise OptionError(
            "Expected --server without --teach and --order uncertain, which need the network on this computer, got "
            "both. Try to leave them out."
        )
    path, out = (None if each is None else Path(each) for each in (given.path, given.out))
    of_volumes = given.slices or (path is not None and surely_volumes(path))
    if of_volumes:
        check_for_volumes(given)
    files, folder = volumes_of(path, out, given.slices) if path is not None and of_volumes else photos_of(path, out)
    listening = bound(given.host or "127.0.0.1", given.port)
    with listening, folder_lock(folder, Access(given.host, listening.getsockname()[1]).address()):
        net = network(given) if there is None else AtService(there, given.server_network)
        if not isinstance(net, AtService) and net.spec.sides == 3:
            check_for_volumes(given, deep=True)
            files, of_volumes = volumes_of(Path(given.path), out, stacks=True)[0], True
        plan = None if isinstance(net, AtService) else plan_of(given, net)
        project = Project.opened(files, folder, uploads=not of_volumes)
        page = Page(net, project, plan, given.order, of_volumes)
        serve(page, listening, given.host, browser=not given.no_browser)
    return 0


def plan_of(given: argparse.Namespace, net: Interactive) -> Plan | None:
    """How the network learns, where that is wished; raises OptionError for one that can't."""
    if not given.teach:
        return None
    from interactify.app.lessons import Plan
    from interactify.training.teach import check_teachable

    check_teachable(net)
    return Plan(given.model, options(given))


def check_for_volumes(given: argparse.Namespace, *, deep: bool = False) -> None:
    """Refuse what makes no sense on volumes; `deep` is said of a network of volumes.

    Raises:
        OptionError: an option of photos, or no volume.
    """
    others = {"--server": given.server, "--teach": given.teach, "--order uncertain": given.order != "name"}
    for name, is_given in others.items():
        if is_given:
            raise OptionError(f"Expected volumes without {name}, which is for photos, got both. Try to leave it out.")
    if deep and given.slices:
        raise OptionError(
            "Expected --slices with a network of images, got it with one of volumes, which sees all slices at once. "
            "Try to leave it out."
        )
    if given.path is None:
        raise OptionError("Expected a volume, or a folder of volumes, got none. Try `interactify app scan.nii.gz`.")


def bound(host: str, port: int | None) -> socket.socket:
    """A socket that listens at a host and a port, or at the first free port.

    Raises:
        OptionError: there is no such host, or the port is taken.
    """
    if port is not None and not 0 <= port <= 65535:
        raise OptionError(f"Expected a port from 0 to 65535, got {port}.")
    ports = (port,) if port is not None else (*range(PORT, PORT + 20), 0)
    for each in ports:
        try:
            family = socket.getaddrinfo(host, each, type=socket.SOCK_STREAM)[0][0]
            # Where the protocol is not named, asyncio leaves small packets waiting for others, 40 ms each.
            listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, each))
        except OSError as cause:
            if each == ports[-1]:
                why = cause.strerror or type(cause).__name__
                raise OptionError(f"Can't listen at {host}, port {each} ({why}). Name another one: --port.") from cause
        else:
            return listening
    raise AssertionError("the last port raises or returns")


class Page(NamedTuple):
    """What is served: the network, the project, how the network learns, the order of the photos, or volumes."""

    net: Interactive | AtService
    project: Project
    plan: Plan | None
    order: str
    of_volumes: bool = False


def serve(page: Page, listening: socket.socket, host: str | None, *, browser: bool) -> None:
    """Run the server on a socket until it is interrupted."""
    # Not at the top: these need the optional packages.
    from interactify.app.security import Access
    from interactify.app.server import build
    from interactify.web import running

    access = Access.create(host, listening.getsockname()[1])
    if page.of_volumes:
        from interactify.app.volume_routes import build as build_for_volumes

        application = build_for_volumes(cast("Interactive", page.net), page.project, access)
    else:
        application = build(page.net, page.project, access, plan=page.plan, order=page.order)
    print(f"interactify: {access.address()}", flush=True)
    print(f"interactify: results are kept in {page.project.out.resolve()}; Ctrl-C ends", file=sys.stderr, flush=True)
    if browser:
        threading.Timer(0.5, webbrowser.open, (access.address(),)).start()
    running.run(application, listening, keep_alive=KEEP_ALIVE, grace=GRACE)
