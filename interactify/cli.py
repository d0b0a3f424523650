"""The command line: each command in a module of its own, each error and each warning as one line on stderr."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, NoReturn

from interactify._version import __version__
from interactify.commands import (
    app,
    batch,
    cvat_function,
    demo,
    evaluate,
    inspect,
    label_studio,
    replay,
    segment,
    serve,
    teach,
    train,
)
from interactify.commands.segment import with_negatives_joined
from interactify.commands.streams import steady_streams
from interactify.errors import InteractifyError, InteractifyWarning, OptionError

COMMANDS: Final[dict[str, tuple[ModuleType, str, str]]] = {
    "demo": (demo, "play scripted clicks on the embedded photos and write pictures", ""),
    "app": (
        app,
        "open a page in the browser where photos are segmented with the mouse",
        "Everything is saved at once: closing the page, or ending the server, loses nothing.",
    ),
    "segment": (
        segment,
        "segment a photo by clicks; writes the mask and an overlay",
        "Writes PHOTO-mask.png (255 where the object is, 0 elsewhere), or the formats named by --format, and the "
        "picture PHOTO-overlay.png. Without clicks both show the network's own prediction.",
    ),
    "batch": (
        batch,
        "segment many photos from boxes, points and earlier masks; writes masks and a manifest",
        "Takes the prompts of other tools for any number of photos, on this machine or on a Ray cluster. Writes masks "
        "to OUT/masks, and OUT/manifest.jsonl with a line for each object. The same command resumes an interrupted "
        "run. The exit status is 1 where photos ended with an error.",
    ),
    "replay": (
        replay,
        "recompute the masks of a session's log; writes them and an overlay",
        "LOG is the text of session.log(), or a file written by `interactify segment --log`. The masks are computed "
        "by the network given here: the same one, another checkpoint, or another network.",
    ),
    "inspect": (inspect, "print what was found in a network and which settings were chosen", ""),
    "evaluate": (
        evaluate,
        "let a simulated user click through a data set; writes a report",
        "Writes report.html and report.md, objects.csv, report.json and the final masks. The same command resumes an "
        "interrupted run.",
    ),
    "teach": (
        teach,
        "train a network on accepted masks; writes new weights and says what they gain",
        "Trains a copy of the network on the masks that were accepted, and measures it on photos that were held back: "
        "IoU without clicks, and clicks an object, before and after. Writes the new weights, lesson.json and "
        "curves.svg; the old weights stay. The same command goes on with a training that was interrupted.",
    ),
    "train": (
        train,
        "train a network for clicks, on photos with masks of objects",
        "Writes the network to OUT, to be used as --model clicks@OUT, and the curves of its training. The same command "
        "resumes an interrupted training.",
    ),
    "cvat-function": (
        cvat_function,
        "write a folder that CVAT's nuclio deploys as an interactor",
        "Writes OUT: function.yaml and main.py for nuclio, the network's weights, and a copy of this package. The "
        "network is built once first, so that its errors are reported here.",
    ),
    "serve": (
        serve,
        "serve sessions to many over HTTP, from one or several replicas",
        "Every interaction is in the store before it is answered: sessions outlive this process, and other replicas "
        "over the same store go on with them. SIGTERM, or Ctrl-C, ends it after the actions that have come.",
    ),
    "label-studio": (
        label_studio,
        "answer Label Studio's smart tools as its machine learning backend",
        "Serves Label Studio's requests until Ctrl-C. In the project's settings, connect a model with the printed "
        "address, and switch interactive preannotations on.",
    ),
}
"""Each command's module, its summary in one line, and a longer description."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: without the program's name; by default those of the running process.

    Returns:
        The exit status: 0; 2 after an error of the library's family, of the system or in the arguments, with one line
        on stderr; 130 after Ctrl-C. Any other exception is raised as it is. Whoever reads stdout may leave: the command
        runs to its end.

    >>> main(["--version"])
    interactify ...
    0
    """
    with steady_streams(sys.stdout, sys.stderr):
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    """The command's exit status, after its error was printed."""
    try:
        given = parser().parse_args(with_negatives_joined(sys.argv[1:] if arguments is None else arguments))
        with _warnings_in_one_line():
            status: int = given.run(given)
            return status
    except InteractifyError as error:
        _print_error(error)
        return 2
    except OSError as error:  # a name that is too long, a disk that is gone: of the user's world, and no fault of ours
        _print_error(error)
        return 2
    except KeyboardInterrupt:
        print("interactify: interrupted", file=sys.stderr)
        return 130
    except SystemExit as leaving:  # --help and --version leave this way
        return int(leaving.code or 0)


def _print_error(error: Exception) -> None:
    print(f"interactify: error: {' '.join(str(error).split())}", file=sys.stderr)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print the library's warnings like its errors, without the line of code that Python's own form shows."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, InteractifyWarning):
                print(f"interactify: warning: {' '.join(str(message).split())}", file=sys.stderr)
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        yield


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; its result has the named command's `run`."""
    found = _Parser(
        prog="interactify",
        description="Makes a segmentation network answer to clicks, without training.",
        allow_abbrev=False,
    )
    found.add_argument(
        "--version", action="version", version=f"interactify {__version__}", help="print the version and exit"
    )
    commands = found.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, summary, description) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=description or None, allow_abbrev=False)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return found


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are of the library's family: one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}. See {self.prog} --help.")


if __name__ == "__main__":
    sys.exit(main())
