"""The recorded sessions: each interaction, kind of variables, energy, solver, option and family of networks.

Only public names are used: where the modules lie may change.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import interactify
from benchmarks.recorded_photos import CLICKS, FEW, NAMES, add, case, drawn, photo, played, small, tiny, zoo
from interactify import Box, Click, Interactive, Lasso, Mask, Paint, Scribble, Window

if TYPE_CHECKING:
    from benchmarks.recorded_sessions import Recording


# ---- interactions ----------------------------------------------------------------------------------------------------


@case("zoo clicks, cat")
def _(kept: Recording) -> None:
    played(kept, zoo(), photo("cat"), *CLICKS)


@case("zoo clicks, coffee 96x128")
def _(kept: Recording) -> None:
    session = zoo().session(photo(height=96, width=128))
    for x, y, positive in ((40, 50, True), (5, 5, False), (100, 80, False), (127, 95, True), (0, 0, True)):
        kept.result("click", session.click(x, y, positive))


@case("zoo scribbles")
def _(kept: Recording) -> None:
    steps = Scribble([(40, 60), (60, 80), (90, 70)], width=5), Scribble([(2, 5), (150, 5)], positive=False, weight=2.5)
    played(kept, zoo(), photo(), *steps, Click(120, 110, False))


@case("zoo box")
def _(kept: Recording) -> None:
    played(kept, zoo(), photo(), Box(20, 10, 130, 110), Click(70, 60), Click(30, 20, False), Box(10, 5, 140, 115))


@case("zoo lasso")
def _(kept: Recording) -> None:
    outline = [(30, 15), (120, 10), (140, 90), (80, 112), (25, 80)]
    played(kept, zoo(), photo("astronaut"), Lasso(outline), Click(80, 60), Click(40, 30, False))


@case("zoo paint")
def _(kept: Recording) -> None:
    steps = Paint([(10, 20), (60, 30)], width=12), Paint([(100, 60), (140, 90)], width=7.5, positive=True)
    played(kept, zoo(), photo(), CLICKS[0], *steps, CLICKS[1], Paint([(80, 60)]))


@case("zoo mask to begin from")
def _(kept: Recording) -> None:
    mask = np.zeros((120, 160), bool)
    mask[30:100, 40:120] = True
    played(kept, zoo(), photo("cat"), Mask(mask), Click(100, 110), Click(50, 40, False), Paint([(5, 5)], positive=True))


@case("zoo interactions that contradict each other")
def _(kept: Recording) -> None:
    steps = (
        Click(50, 50),
        Click(50, 50, False),
        Box(20, 20, 100, 100),
        Click(140, 110),
        Paint([(70, 60)]),
        Click(70, 60),
    )
    played(
        kept, zoo(), photo(), *steps, Scribble([(60, 40), (60, 90)], positive=False), Lasso([(5, 5), (90, 5), (40, 99)])
    )


@case("zoo several at once")
def _(kept: Recording) -> None:
    together = [Box(10, 8, 140, 115), Click(15, 20, False), Scribble([(50, 60), (90, 80)], width=7)]
    session = played(kept, zoo(), photo(), CLICKS[:3], together)
    kept.result("undo", session.undo())


@case("zoo without zoom")
def _(kept: Recording) -> None:
    played(kept, zoo(zoom=False), photo("cat"), *CLICKS)


@case("zoo small object, zoomed")
def _(kept: Recording) -> None:
    scene = np.full((240, 320, 3), 90, np.uint8)
    scene[60:130, 40:140] = photo(height=70, width=100)
    session = played(kept, zoo(), scene, Click(90, 95), Click(60, 70), Click(20, 20, False), Click(100, 100))
    kept.keep(
        "window",
        mask=session.result.mask_in(Window(50, 30, 90, 120)),
        probability=session.result.probability_in(Window(50, 30, 90, 120), 3),
    )


@case("zoo mirror")
def _(kept: Recording) -> None:
    played(kept, zoo(mirror=True), photo("astronaut"), *CLICKS[:3])


def _propagation(name: str, kept: Recording) -> None:
    played(kept, zoo(propagation=name), photo(), *CLICKS[:3], Scribble([(20, 100), (70, 115)], positive=False))


for _name in ("none", "edges", "colour"):
    case(f"zoo propagation {_name}")(partial(_propagation, _name))


@case("small limits of evaluations and time")
def _(kept: Recording) -> None:
    for options in ({"max_evaluations": 1}, {"max_evaluations": 3}, {"max_seconds": 0}):
        played(kept, tiny(**options), drawn(), *FEW)
    played(
        kept, tiny(variables="scale_bias@A", energy="fbrs"), drawn(), *FEW, Click(41, 30, False), Click(40, 31, False)
    )


@case("small options of the network")
def _(kept: Recording) -> None:
    for options in ({"resolution": 48}, {"divisor": 16, "bgr": True}, {"precision": "bfloat16"}, {"stem": "stem"}):
        played(kept, tiny(**options), drawn(), *FEW)


@case("small forms of photos")
def _(kept: Recording) -> None:
    net, scene = tiny(), drawn()
    image = Image.fromarray(scene)
    image.save(kept.folder / "photo.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(kept.folder / "turned.png", exif=exif)
    alpha = np.dstack([scene, np.full(scene.shape[:2], 128, np.uint8)])
    forms = [image, image.convert("L"), image.convert("P"), kept.folder / "photo.png", str(kept.folder / "turned.png")]
    forms += [alpha, scene[..., 0], torch.from_numpy(scene).permute(2, 0, 1) / 255, scene.astype(np.float32) / 255]
    for form in forms:
        session = played(kept, net, form, FEW[0])
        kept.keep("photo", uint8=session.photo, size=session.size)
    picture = interactify.open_picture(scene)
    kept.keep("picture", size=picture.size, read=picture.read(Window(3, 4, 20, 30)), drawn=picture.uint8())


@case("small network of four channels")
def _(kept: Recording) -> None:
    net = interactify.wrap(small(channels=4), mean=0.5, std=0.25)
    played(kept, net, drawn(channels=4), *FEW)
    played(kept, interactify.wrap(small(channels=1), mean=0.5, std=0.25), drawn(), *FEW)


# ---- variables, energies, solvers ------------------------------------------------------------------------------------

VARIABLES = ("input", "maps", "kernels", "scale_bias@A", "scale_bias@B", "scale_bias@C")
ENERGIES = ("margin", "brs", "fbrs")


def _zoo_variables(variables: str, kept: Recording) -> None:
    played(kept, zoo(variables=variables), photo("cat"), *CLICKS[:3])


def _small_variables(options: dict[str, Any], kept: Recording) -> None:
    played(kept, tiny(**options), drawn(), *FEW, Scribble([(10, 40), (30, 55)], positive=False))


for _name in (*VARIABLES[1:], "scale_bias@decoder.blocks.2"):
    case(f"zoo variables {_name}")(partial(_zoo_variables, _name))

for _name in ("bias_field@B", "conv1x1@B", "rows_columns@B"):
    case(f"zoo variables {_name}")(partial(_zoo_variables, _name))

for _name, _energy in product((*VARIABLES, "scale_bias@up", "bias_field@up", "rows_columns@up"), ENERGIES):
    case(f"small {_name}, {_energy}, lbfgs")(partial(_small_variables, {"variables": _name, "energy": _energy}))

for _name, _energy in product(("input", "scale_bias@B"), ENERGIES):
    _options = {"variables": _name, "energy": _energy, "solver": "scipy"}
    case(f"small {_name}, {_energy}, scipy")(partial(_small_variables, _options))


@case("zoo energy brs")
def _(kept: Recording) -> None:
    played(kept, zoo(energy="brs", solver="scipy"), photo(), *CLICKS[:3])


@case("zoo energy fbrs")
def _(kept: Recording) -> None:
    played(kept, zoo(energy="fbrs"), photo(), *CLICKS[:3])


@case("small energy of one's own")
def _(kept: Recording) -> None:
    played(kept, tiny(energy=interactify.brs.energy.Margin(margin=1.0, aim=2.0)), drawn(), *FEW)


# ---- classes ---------------------------------------------------------------------------------------------------------


@case("classes two")
def _(kept: Recording) -> None:
    session = played(kept, tiny(2), drawn(), *FEW)
    kept.keep("classes", map=session.class_map())
    played(kept, tiny(2), drawn(), *FEW, target=0)


def _target(target: Any, kept: Recording) -> None:
    net = tiny(5, class_names=NAMES, target=None if target == "session" else target)
    session = played(kept, net, drawn(), *FEW, **({"target": "wall"} if target == "session" else {}))
    kept.keep("classes", map=session.class_map())


for _chosen in (2, "spoon", "clicked", None, "session"):
    case(f"classes five, target {_chosen}")(partial(_target, _chosen))


def _labels(options: dict[str, Any], kept: Recording) -> None:
    session = tiny(5, class_names=NAMES, **options).session(drawn(), target="cup")
    kept.keep("classes before", map=session.class_map())
    add(kept, session, Click(40, 30, label="cup"), [Click(10, 60, label=4), Click(5, 5, label="wall")])
    add(kept, session, Click(90, 60, False, "wall"), Scribble([(20, 20), (50, 20)], label="spoon"), Click(60, 40))
    kept.keep("classes", map=session.class_map())
    add(kept, session, Box(10, 5, 90, 60), Paint([(50, 50)], width=11))
    kept.keep("classes", map=session.class_map())
    kept.keep("log", text=session.log())


for _options in ({}, {"variables": "scale_bias@B", "energy": "brs"}, {"variables": "maps"}, {"propagation": "colour"}):
    case(f"classes labels {' '.join(_options.values())}".strip())(partial(_labels, _options))


@case("classes after sigmoid and softmax")
def _(kept: Recording) -> None:
    for last in (torch.sigmoid, partial(torch.softmax, dim=1)):
        net = interactify.wrap(small(3, last=last), mean=0.5, std=0.25, target=1)
        session = played(kept, net, drawn(), *FEW, Click(20, 40, label=2))
        kept.keep("classes", map=session.class_map())
    net = interactify.wrap(small(1, last=torch.sigmoid), mean=0.5, std=0.25, activation="sigmoid")
    played(kept, net, drawn(), *FEW)


@case("classes, outputs of several maps")
def _(kept: Recording) -> None:
    several = {
        "heads.0": lambda z: {"edges": -z, "heads": [z]},
        "out": lambda z: {"aux": -z, "out": F.avg_pool2d(z, 4)},
        None: lambda z: [z, F.avg_pool2d(z, 2)],
    }
    for output, last in several.items():
        played(kept, interactify.wrap(small(last=last), mean=0.5, std=0.25, output=output), drawn(), *FEW)
    net = interactify.wrap(small(last=several["heads.0"]), mean=0.5, std=0.25, output=lambda raw: raw["heads"][0])
    played(kept, net, drawn(), *FEW)


# ---- families of networks --------------------------------------------------------------------------------------------


@case("family segmentation_models_pytorch")
def _(kept: Recording) -> None:
    import segmentation_models_pytorch as smp

    for model in (
        smp.FPN("resnet18", encoder_weights=None, classes=5),
        smp.Unet("mobilenet_v2", encoder_weights=None, activation="sigmoid"),
    ):
        net = interactify.wrap(model.eval(), resolution=128)
        _kept_points(kept, net)
        played(kept, net, photo(), *CLICKS[:2], target=0)


@case("family torchvision")
def _(kept: Recording) -> None:
    import torchvision

    options = {"weights": None, "weights_backbone": None, "num_classes": 4}
    net = interactify.wrap(torchvision.models.segmentation.lraspp_mobilenet_v3_large(**options).eval(), resolution=128)
    _kept_points(kept, net)
    played(kept, net, photo(), *CLICKS[:2], target=1)


@case("family timm")
def _(kept: Recording) -> None:
    import timm

    net = interactify.wrap(timm.create_model("resnet10t", pretrained=False, num_classes=6).eval(), resolution=128)
    _kept_points(kept, net)
    played(kept, net, photo(), *CLICKS[:2], target=3)


@case("family transformers")
def _(kept: Recording) -> None:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    sizes: dict[str, Any] = {
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [8, 16, 24, 32],
        "decoder_hidden_size": 16,
        "num_labels": 3,
    }
    model = SegformerForSemanticSegmentation(SegformerConfig(**sizes, num_attention_heads=[1, 1, 2, 2])).eval()
    net = interactify.wrap(model, resolution=128)
    _kept_points(kept, net)
    played(kept, net, photo(), *CLICKS[:2], target=1)


def _kept_points(kept: Recording, net: Interactive) -> None:
    kept.keep("places", points=[[each.letter, each.name, each.shape, each.share] for each in net.insertion_points()])


@case("places of variables in the embedded network")
def _(kept: Recording) -> None:
    _kept_points(kept, zoo())
