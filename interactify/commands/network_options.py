"""The command-line options that describe a network, shared by all commands, and the network built from them."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interactify.errors import OptionError, quietly

if TYPE_CHECKING:  # it loads torch, and `interactify --help` reads this module
    from interactify.interactive import Interactive

MODEL_HELP = """the network: "zoo" (embedded, never shown a click; the default); "clicks" (embedded, trained for clicks:
each is quicker, and on most photos there are more); clicks@FOLDER, one from `interactify train`;
ARCH/ENCODER[,option=value ...][@CHECKPOINT], an architecture of segmentation_models_pytorch with its weights (.pt,
.safetensors or a save_pretrained folder), such as unet/resnet34@weights.safetensors or
fpn/resnet18,classes=21@weights.pt; timm/NAME, torchvision/NAME, with options and checkpoint alike; transformers/FOLDER;
@FOLDER, a save_pretrained folder; package.module:function, which builds and returns a network; or a file of a whole
network: .pt2, TorchScript, .onnx; these and zoo take other weights after an @ too, as `interactify teach` writes
them"""

# The arguments of `interactify.wrap` that the command line takes.
OPTIONS = (
    *("target", "output", "variables", "energy", "solver", "mean", "std", "resolution", "divisor", "activation"),
    *("bgr", "fit", "class_names", "adapter", "stem", "propagation", "zoom", "mirror", "value_range"),
    "max_evaluations",
)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the network; `network` reads them."""
    group = parser.add_argument_group("network and refinement")
    group.add_argument("--model", default="zoo", help=MODEL_HELP)
    group.add_argument("--target", type=_class, metavar="CLASS", help="what a positive click means: an index or a name")
    group.add_argument(
        "--class-names", type=class_names, metavar="NAME,...", help="the classes' names in order; @FILE: one a line"
    )
    group.add_argument("--output", metavar="KEY", help="where in the network's output the map is: a key or dotted path")
    group.add_argument(
        "--variables",
        metavar="NAME",
        help="what refinement changes: input, smooth_input, maps, kernels, click_maps, or at a layer: "
        "scale_bias@LAYER, bias_field@LAYER, conv1x1@LAYER, rows_columns@LAYER",
    )
    group.add_argument("--energy", metavar="NAME", help="what it minimises: margin, settling, brs, fbrs")
    group.add_argument(
        "--max-evaluations", type=int, metavar="N",
        help="how often the network is run with gradient for one click, at most; 0 for the answers of a click network",
    )  # fmt: skip
    group.add_argument("--solver", metavar="NAME", help="what minimises it: lbfgs, scipy")
    group.add_argument("--mean", type=numbers, metavar="R,G,B", help="normalisation of images in [0, 1]: the mean")
    group.add_argument("--std", type=numbers, metavar="R,G,B", help="and the standard deviation")
    group.add_argument(
        "--value-range", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="the values of photos that are black and white: 0 4095 for 12 bits in 16, -160 240 for Hounsfield units",
    )  # fmt: skip
    group.add_argument("--bgr", action="store_true", default=None, help="the network reads blue, green, red")
    group.add_argument("--resolution", type=int, metavar="N", help="longest side at which the network sees a photo")
    group.add_argument("--fit", metavar="NAME", help="how photos get that size: letterbox (the default), squash")
    group.add_argument("--divisor", type=int, metavar="N", help="what the network needs height and width divisible by")
    group.add_argument(
        "--activation", metavar="NAME", help="what was applied to the map: none, sigmoid, softmax, sigmoid-logits"
    )
    group.add_argument("--adapter", metavar="NAME", help="which adapter knows the network, where it is not recognised")
    group.add_argument(
        "--propagation", metavar="NAME", help="how corrections spread: colour, edges, none, careful, near"
    )
    group.add_argument("--no-zoom", dest="zoom", action="store_false", default=None, help="always use the whole photo")
    group.add_argument("--mirror", action="store_true", default=None, help="average with the mirror image's maps")
    group.add_argument("--stem", metavar="LAYER", help="the module that reads the image, where it is not found")


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add `--device`, for commands that keep a network running; `network` reads it."""
    parser.add_argument(
        "--device", metavar="NAME", default="auto",
        help="where the network runs: cpu, cuda, cuda:1, … (cuda where there is a GPU for it, cpu elsewhere)",
    )  # fmt: skip


def network(given: argparse.Namespace) -> Interactive:
    """The wrapped network that the options describe, on the named device; on the CPU for commands without `--device`.

    Raises as `interactify.wrap`, `interactify.models.build_model` and `Interactive.to`.
    """
    # Not at the top, since both load torch: `interactify --help` reads this module.
    from interactify.interactive import wrap
    from interactify.models.build import build_model, quickest_device

    with quietly() if has_random_weights(given.model) else nullcontext():  # no normalisation is right for them
        net = wrap(build_model(given.model), **options(given))
    note_random_weights(given.model)
    device = getattr(given, "device", "cpu")
    return net.to(quickest_device() if device == "auto" else device)


def options(given: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `interactify.wrap` that were given."""
    return {name: value for name in OPTIONS if (value := getattr(given, name)) is not None}


def note_random_weights(model: str) -> None:
    """Warn on stderr that a network has random weights, where no checkpoint is named."""
    if has_random_weights(model):
        print("interactify: note: no checkpoint named, so the network's weights are random", file=sys.stderr)


def has_random_weights(model: str) -> bool:
    """Whether the text names a network, but no weights."""
    pretrained = model.startswith(("transformers/", "clicks@")) or "pretrained=True" in model or "weights=" in model
    # A file that holds a whole network has its weights.
    return "/" in model and "@" not in model and not pretrained and not Path(model).expanduser().is_file()


def _class(text: str) -> int | str:
    return int(text) if text.strip().isdecimal() else text


def class_names(text: str) -> tuple[str, ...]:
    """Read names separated by commas, or the lines of @FILE; argparse names this function in its error.

    >>> class_names("road, sky")
    ('road', 'sky')
    """
    if not text.startswith("@"):
        return tuple(name.strip() for name in text.split(","))
    try:
        lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as cause:
        raise OptionError(f"Expected --class-names @FILE with a name on each line, got {text}: {cause}.") from cause
    return tuple(line.strip() for line in lines if line.strip())


def numbers(text: str) -> float | tuple[float, ...]:
    """Read one number, or several separated by commas; argparse names this function in its error."""
    values = tuple(float(part) for part in text.split(","))
    return values if len(values) > 1 else values[0]
