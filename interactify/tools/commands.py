"""`interactify cvat-function` and `interactify label-studio`: their arguments, which import nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interactify.wrap import Interactive


def add_commands(
    commands: Any,
    add_network_options: Callable[[argparse.ArgumentParser], None],
    network: Callable[[argparse.Namespace], Interactive],
    options: Callable[[argparse.Namespace], dict[str, Any]],
) -> None:
    """Add both to argparse's subparsers; the three functions are those of `interactify.cli`."""

    def cvat(given: argparse.Namespace) -> int:
        from interactify.tools import cvat_command

        return cvat_command.run(given, network, options(given))

    def label_studio(given: argparse.Namespace) -> int:
        from interactify.tools import label_studio_command

        return label_studio_command.run(given, network)

    function = commands.add_parser(
        "cvat-function",
        help="write a folder that CVAT's nuclio deploys as an interactor",
        description="Writes OUT: function.yaml and main.py for nuclio, the network's weights, and a copy of this "
        "package. The network is built once before, so that what is wrong with it is said here.",
        allow_abbrev=False,
    )
    function.add_argument("out", metavar="OUT", help="a folder that is new, empty, or was written by this command")
    function.add_argument("--name", metavar="TEXT", help="what CVAT's list of tools shows (the network's)")
    function.add_argument("--gpu", action="store_true", help="run on a GPU of the machine that nuclio runs on")
    function.add_argument(
        "--requirement", metavar="PACKAGE", action="append", default=[],
        help="a package that the network needs beside this one, as pip takes it; repeat it for several",
    )  # fmt: skip
    add_network_options(function)
    function.set_defaults(command=cvat)

    backend = commands.add_parser(
        "label-studio",
        help="answer Label Studio's smart tools as its machine learning backend",
        description="Serves Label Studio's requests until Ctrl-C. In the project's settings, connect a model with the "
        "address that is printed, and switch interactive preannotations on.",
        allow_abbrev=False,
    )
    backend.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="who may ask: %(default)s is this "
                         "computer alone, 0.0.0.0 everyone who reaches it")  # fmt: skip
    backend.add_argument("--port", type=int, metavar="N", default=9090, help="where it listens (%(default)s)")
    add_network_options(backend)
    backend.set_defaults(command=label_studio)
