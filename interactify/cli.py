"""The command line. What goes wrong is one line; heavy imports wait until they are needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final, NoReturn

from interactify.commands import app, cvat_function, demo, evaluate, inspect, label_studio, replay, segment
from interactify.commands.segment import with_clicks_joined
from interactify.errors import InteractifyError, OptionError

COMMANDS: Final[dict[str, tuple[ModuleType, str, str]]] = {
    "demo": (demo, "play scripted clicks on the embedded photos and write pictures", ""),
    "app": (
        app,
        "open a page in the browser where photos are segmented with the mouse",
        "Everything is kept as one goes: closing the page, or ending the server, loses nothing.",
    ),
    "segment": (
        segment,
        "segment a photo by clicks; writes the mask and an overlay",
        "Writes PHOTO-mask.png (255 where the object is, 0 elsewhere), or the formats that are asked for, and "
        "PHOTO-overlay.png to look at. Without clicks they show the network's own prediction.",
    ),
    "replay": (
        replay,
        "make the masks of a session's log again; writes them and an overlay",
        "LOG is what session.log() gave, or `interactify segment --log` wrote. The masks are those of the network "
        "given here: the same one, another checkpoint, or another network.",
    ),
    "inspect": (inspect, "say what was found of a network and what was chosen", ""),
    "evaluate": (
        evaluate,
        "let a simulated user click through a data set; writes a report",
        "Writes report.html and report.md, objects.csv, report.json and the final masks. The same command takes an "
        "interrupted run up.",
    ),
    "cvat-function": (
        cvat_function,
        "write a folder that CVAT's nuclio deploys as an interactor",
        "Writes OUT: function.yaml and main.py for nuclio, the network's weights, and a copy of this package. The "
        "network is built once before, so that what is wrong with it is said here.",
    ),
    "label-studio": (
        label_studio,
        "answer Label Studio's smart tools as its machine learning backend",
        "Serves Label Studio's requests until Ctrl-C. In the project's settings, connect a model with the address that "
        "is printed, and switch interactive preannotations on.",
    ),
}
"""Each command's module, what it does in a line, and what more there is to say."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: without the program's name; by default those the program was called with.

    Returns:
        The exit status: 0; 2 after an error of the library's family or in the arguments, with one line on stderr; 130
        after Ctrl-C. Anything unforeseen leaves as the exception it is.

    >>> main(["--version"])
    interactify 0.1.0
    0
    """
    try:
        given = parser().parse_args(with_clicks_joined(sys.argv[1:] if arguments is None else arguments))
        return given.run(given)
    except InteractifyError as error:
        print(f"interactify: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interactify: interrupted", file=sys.stderr)
        return 130
    except SystemExit as leaving:  # --help and --version leave this way
        return int(leaving.code or 0)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it returns has the `run` of the one that was named."""
    found = _Parser(
        prog="interactify",
        description="Makes a segmentation network answer to clicks, without training.",
        allow_abbrev=False,
    )
    found.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = found.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, says, more) in COMMANDS.items():
        command = commands.add_parser(name, help=says, description=more or None, allow_abbrev=False)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return found


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are errors of the family: one line, as all others."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}. See {self.prog} --help.")


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from interactify import __version__

        print(f"interactify {__version__}")
        raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
