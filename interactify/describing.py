"""What was found of a network and what was chosen for it, in a few lines that a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from interactify.resumed import ROOM
from interactify.spec import describe
from interactify.suffix import Suffix
from interactify.twin import inside

if TYPE_CHECKING:
    from interactify.wrap import Interactive


def described(net: Interactive) -> str:
    """See `Interactive.describe`."""
    why = {
        "input": "moves the image itself: the best measured for networks never trained for clicks",
        "maps": "moves interaction maps read through the first convolution's own kernels",
        "kernels": "moves zero-weighted kernels over maps of the clicks",
    }
    chosen = [
        f"variables   {net.variables.name}: {why.get(net.variables.name, 'as asked for')}",
        f"energy      {net.energy.name}, inertia {net.energy.inertia:g}",
        f"solver      {net.solver}, at most {net.max_evaluations} evaluations a click",
        f"click runs  {_click_text(net)}",
        *([f"run         {how}"] if (how := net.network.running.text(net.spec.device.type)) else []),
        *([f"precision   autocast to {str(cast).split('.')[-1]}"] if (cast := net.network.autocast) else []),
        f"follows     {net.propagation}",
        f"target      {_target_text(net)}",
        *(["mirror      the mean of the image's maps and its mirror image's"] if net.options["mirror"] else []),
        f"zoom-in     {'from the second click on, where it shows the object larger' if net.zoom else 'off'}",
    ]
    return describe(net.spec, type(inside(net.unwrap())).__name__, chosen)


def _click_text(net: Interactive) -> str:
    """What an evaluation runs and what is kept for a photo, seen on an image of the size that was probed with."""
    spec = net.network.spec
    with torch.inference_mode(False):  # in which nothing could be recorded
        image = torch.zeros(1, spec.channels, *spec.probed, dtype=spec.dtype, device=spec.device)
        suffix = Suffix(net.network, net.variables, image, net.variables.start(net.network, image))
        suffix.plain()
    if suffix.whole is not None:
        return f"the whole network: {suffix.whole}"
    pixels = image.shape[-2] * image.shape[-1]
    text = f"what depends on the variables; keeps {suffix.kept / pixels:.3g} MB for each megapixel that it sees"
    if suffix.shared and suffix.made:
        made = f"{suffix.made / pixels:.3g} (up to {ROOM / 1e6:.0f} MB in all)"
        return f"{text}, and {made} to go on from the last click"
    return text


def _target_text(net: Interactive) -> str:
    if net.target is not None:
        names = net.spec.class_names
        return f"class {net.target}" + (f" ({names[net.target]})" if names else "")
    if net.spec.output.classes == 1:
        return "the object"
    if net.spec.output.classes == 2:
        return "class 1"
    return "the class under the first click; until then everything but class 0"
