"""The command line. What goes wrong is one line; heavy imports wait until they are needed."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from interactify import app_command, evaluate_command
from interactify.errors import InteractifyError, InteractionError, OptionError, PhotoError
from interactify.formats import FORMAT_HELP, Exported, category_of, checked_tolerance, formats_named, write_formats
from interactify.tools.commands import add_commands
from interactify.whole_file import write_whole

if TYPE_CHECKING:
    from interactify.wrap import Interactive

MODEL_HELP = """the network: "zoo" (embedded, the default); ARCH/ENCODER[,option=value ...][@CHECKPOINT], an
architecture of segmentation_models_pytorch with its weights (.pt, .safetensors or a save_pretrained folder), such as
unet/resnet34@weights.safetensors or fpn/resnet18,classes=21@weights.pt; timm/NAME, torchvision/NAME, with options and
checkpoint alike; transformers/FOLDER; @FOLDER, a save_pretrained folder; or
package.module:function, which builds and returns a network"""

CLICK_HELP = """a click at pixel x, y (x to the right, y down); with a minus before x it says that the pixel does not
belong to the object (-120,80; at the left border -0,80). Repeat it: clicks are made in the order given"""


# The arguments of `interactify.wrap` that the command line takes.
OPTIONS = (
    *("target", "output", "variables", "energy", "solver", "mean", "std", "resolution", "divisor", "activation"),
    *("adapter", "stem", "propagation", "zoom", "mirror"),
)


class ClickArgument(NamedTuple):
    """A click as typed: pixels, and whether it says "this belongs to it"."""

    x: float
    y: float
    positive: bool


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
        given = _parser().parse_args(with_clicks_joined(sys.argv[1:] if arguments is None else arguments))
        return given.command(given)
    except InteractifyError as error:
        print(f"interactify: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interactify: interrupted", file=sys.stderr)
        return 130
    except SystemExit as leaving:  # --help and --version leave this way
        return int(leaving.code or 0)


def parse_click(text: str) -> ClickArgument:
    """Read a click: ``x,y``, or ``-x,y`` for a negative one.

    Raises:
        InteractionError: where it reads otherwise.

    >>> parse_click("120,80"), parse_click("-0,80")
    (ClickArgument(x=120, y=80, positive=True), ClickArgument(x=0, y=80, positive=False))
    """
    parts = re.fullmatch(r"\s*(?P<sign>[+-]?)(?P<x>[^\s,+-][^\s,]*)\s*,\s*(?P<y>[^\s,]+)\s*", text)
    if parts is None:
        raise InteractionError(f"Expected a click as x,y or, for a negative one, -x,y (such as 120,80); got {text!r}.")
    return ClickArgument(_coordinate(parts["x"], text), _coordinate(parts["y"], text), parts["sign"] != "-")


def with_clicks_joined(arguments: Sequence[str]) -> list[str]:
    """Join ``--click -120,80`` to ``--click=-120,80``, since argparse takes what begins with a minus for an option.

    >>> with_clicks_joined(["segment", "a.png", "--click", "-120,80", "--click", "3,4"])
    ['segment', 'a.png', '--click=-120,80', '--click', '3,4']
    """
    joined: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return [*joined, word, *waiting]
        if word == "--click" and waiting and re.match(r"-[^-].*,|-[\d.]", waiting[0]):
            word = f"--click={waiting.pop(0)}"
        joined.append(word)
    return joined


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are errors of the family: one line, as all others."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}. See {self.prog} --help.")


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from interactify import __version__

        print(f"interactify {__version__}")
        raise SystemExit(0)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="interactify",
        description="Makes a segmentation network answer to clicks, without training.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo", help="play scripted clicks on the embedded photos and write pictures", allow_abbrev=False
    )
    demo.add_argument("--out", metavar="DIR", default="interactify-demo", help="folder for the pictures (%(default)s)")
    demo.set_defaults(command=_demo)

    app = commands.add_parser(
        "app",
        help="open a page in the browser where photos are segmented with the mouse",
        description="Everything is kept as one goes: closing the page, or ending the server, loses nothing.",
        allow_abbrev=False,
    )
    app_command.add_arguments(app)
    _add_network_options(app)
    app.set_defaults(command=_app)

    segment = commands.add_parser(
        "segment",
        help="segment a photo by clicks; writes the mask and an overlay",
        description="Writes PHOTO-mask.png (255 where the object is, 0 elsewhere), or the formats that are asked for, "
        "and PHOTO-overlay.png to look at. Without clicks they show the network's own prediction.",
        allow_abbrev=False,
    )
    segment.add_argument("photo", metavar="PHOTO", help="a picture file")
    segment.add_argument("--click", metavar="[-]x,y", action="append", default=[], help=CLICK_HELP)
    segment.add_argument("--out", metavar="DIR", default=".", help="folder for the files (the current one)")
    segment.add_argument("--format", metavar="NAME", action="append", default=[], help=FORMAT_HELP)
    segment.add_argument(
        "--tolerance", type=float, metavar="PIXELS", default=0.0,
        help="simplify the outlines of coco, geojson and yolo by at most so much; by default they are exact",
    )  # fmt: skip
    segment.add_argument("--log", action="store_true", help="also write PHOTO-log.jsonl, for `interactify replay`")
    _add_network_options(segment)
    segment.set_defaults(command=_segment)

    again = commands.add_parser(
        "replay",
        help="make the masks of a session's log again; writes them and an overlay",
        description="LOG is what session.log() gave, or `interactify segment --log` wrote. The masks are those of the "
        "network given here: the same one, another checkpoint, or another network.",
        allow_abbrev=False,
    )
    again.add_argument("log", metavar="LOG", help="a file of JSON lines")
    again.add_argument("photo", metavar="PHOTO", help="the picture file that it was made on")
    again.add_argument("--out", metavar="DIR", default=".", help="folder for the files (the current one)")
    again.add_argument("--format", metavar="NAME", action="append", default=[], help=FORMAT_HELP)
    again.add_argument("--tolerance", type=float, metavar="PIXELS", default=0.0, help="as for segment")
    _add_network_options(again)
    again.set_defaults(command=_replay)

    inspect = commands.add_parser(
        "inspect", help="say what was found of a network and what was chosen", allow_abbrev=False
    )
    inspect.add_argument("--points", action="store_true", help="also list every layer that variables could act at")
    _add_network_options(inspect)
    inspect.set_defaults(command=_inspect)

    evaluate = commands.add_parser(
        "evaluate",
        help="let a simulated user click through a data set; writes a report",
        description="Writes report.html and report.md, objects.csv, report.json and the final masks. The same command "
        "takes an interrupted run up.",
        allow_abbrev=False,
    )
    evaluate_command.add_arguments(evaluate)
    _add_network_options(evaluate)
    evaluate.set_defaults(command=_evaluate)

    add_commands(commands, _add_network_options, _network, _options)
    return parser


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network and refinement")
    group.add_argument("--model", default="zoo", help=MODEL_HELP)
    group.add_argument("--target", type=_class, metavar="CLASS", help="what a positive click means: an index or a name")
    group.add_argument("--output", metavar="KEY", help="where in the network's output the map is: a key or dotted path")
    group.add_argument(
        "--variables", metavar="NAME", help="what refinement moves: input, maps, kernels, scale_bias@LAYER"
    )
    group.add_argument("--energy", metavar="NAME", help="what it minimises: margin, brs, fbrs")
    group.add_argument("--solver", metavar="NAME", help="what minimises it: lbfgs, scipy")
    group.add_argument("--mean", type=numbers, metavar="R,G,B", help="normalisation of images in [0, 1]: the mean")
    group.add_argument("--std", type=numbers, metavar="R,G,B", help="and the standard deviation")
    group.add_argument("--resolution", type=int, metavar="N", help="longest side at which the network sees a photo")
    group.add_argument("--divisor", type=int, metavar="N", help="what the network needs height and width divisible by")
    group.add_argument("--activation", metavar="NAME", help="what was applied to the map: none, sigmoid, softmax")
    group.add_argument("--adapter", metavar="NAME", help="which adapter knows the network, where it is not recognised")
    group.add_argument("--propagation", metavar="NAME", help="how the rest of the picture follows: colour, edges, none")
    group.add_argument(
        "--no-zoom", dest="zoom", action="store_false", default=None, help="always look at the whole photo"
    )
    group.add_argument("--mirror", action="store_true", default=None, help="average with the mirror image's maps")
    group.add_argument("--stem", metavar="LAYER", help="the module that reads the image, where it is not found")


def _demo(given: argparse.Namespace) -> int:
    from interactify import demo

    demo.run(given.out)
    return 0


def _app(given: argparse.Namespace) -> int:
    return app_command.run(given, _network)


def _segment(given: argparse.Namespace) -> int:
    # What can be wrong without a network is found out before one is built.
    clicks = [parse_click(text) for text in given.click]
    formats, tolerance = formats_named(given.format or ["png"]), checked_tolerance(given.tolerance)
    photo = Path(given.photo)
    if not photo.is_file():
        raise PhotoError(f"No picture file at {photo}.")
    from interactify import demo, draw, export
    from interactify.interactions import Click, checked
    from interactify.picture import open_picture

    size = open_picture(photo).size
    for click in clicks:
        checked(Click(*click), size)
    folder = export.prepare_folder(given.out)
    session = _network(given).session(photo)
    result = session.result
    if clicks:
        print(demo.header())
    for made, result in demo.play(session, clicks):
        print(demo.row(made, result), flush=True)
    said = [each for each in session.interactions if isinstance(each, Click)]
    pictured = draw.overlay(session.photo, result.mask, clicks=said)
    for path in write_formats(formats, folder, Exported(result, photo, category_of(session), tolerance)):
        print(path)
    print(export.write_picture(folder / f"{photo.stem}-overlay.png", pictured))
    if given.log:
        print(write_whole(folder / f"{photo.stem}-log.jsonl", session.log().encode()))
    if not result.satisfied:
        print("interactify: note: not every click could be satisfied", file=sys.stderr)
    return 0


def _replay(given: argparse.Namespace) -> int:
    from interactify import replay_command

    return replay_command.run(given, _network)


def _inspect(given: argparse.Namespace) -> int:
    net = _network(given)
    print(net.describe())
    if given.points:
        print(f"\n{net.insertion_points()}")
    return 0


def _evaluate(given: argparse.Namespace) -> int:
    _note_random_weights(given.model)
    evaluate_command.evaluate(given, _options(given))
    return 0


def _network(given: argparse.Namespace) -> Interactive:
    from interactify.models import build_model
    from interactify.wrap import wrap

    net = wrap(build_model(given.model), **_options(given))
    _note_random_weights(given.model)
    return net


def _options(given: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `interactify.wrap` that were given."""
    return {name: value for name in OPTIONS if (value := getattr(given, name)) is not None}


def _note_random_weights(model: str) -> None:
    fetched = model.startswith("transformers/") or "pretrained=True" in model or "weights=" in model
    if "/" in model and "@" not in model and not fetched:
        print("interactify: note: no checkpoint named, so the network's weights are random", file=sys.stderr)


def _coordinate(text: str, click: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InteractionError(f"Expected pixels as numbers in the click {click!r}, got {text!r}.")
    return int(value) if value.is_integer() else value


def _class(text: str) -> int | str:
    return int(text) if text.strip().isdecimal() else text


def numbers(text: str) -> float | tuple[float, ...]:
    """Read one number, or several with commas between; argparse names this function where that fails."""
    values = tuple(float(part) for part in text.split(","))
    return values if len(values) > 1 else values[0]


if __name__ == "__main__":
    sys.exit(main())
