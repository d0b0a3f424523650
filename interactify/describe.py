"""What was found out about a network and which options are used, as a few lines of text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from interactify.inspection.replica import unwrapped
from interactify.inspection.spec import ModelSpec
from interactify.refinement.wrapped import Wrapped
from interactify.runtime.pass_cache import ROOM
from interactify.runtime.suffix import Suffix


def describe(net: Wrapped) -> str:
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
        *([f"run         {how}"] if (how := net.runtime.executor.text(net.spec.device.type)) else []),
        *([f"precision   autocast to {str(cast).split('.')[-1]}"] if (cast := net.network.autocast) else []),
        f"follows     {net.propagation}",
        f"target      {_target_text(net)}",
        *(["mirror      the mean of the image's maps and its mirror image's"] if net.options["mirror"] else []),
        *([f"values      {low_high[0]:g} is black, {low_high[1]:g} white"] if (low_high := net.value_range) else []),
        f"zoom-in     {'from the second click on, where it shows the object larger' if net.zoom else 'off'}",
    ]
    return spec_text(net.spec, type(unwrapped(net.unwrap())).__name__, chosen)


def _click_text(net: Wrapped) -> str:
    """What an evaluation runs, and what is cached for a photo; tried on an image of the size of the probe."""
    spec = net.network.spec
    with torch.inference_mode(False):  # nothing can be recorded in it
        image = torch.zeros(1, spec.channels, *spec.probed, dtype=spec.dtype, device=spec.device)
        suffix = Suffix(net.runtime, net.variables, image, net.variables.start(net.network, image))
        suffix.plain()
    if suffix.whole is not None:
        return f"the whole network: {suffix.whole}"
    pixels = image.shape[-2] * image.shape[-1]
    text = f"what depends on the variables; keeps {suffix.bytes_kept / pixels:.3g} MB for each megapixel that it sees"
    if suffix.shared and suffix.bytes_made:
        more = f"{suffix.bytes_made / pixels:.3g} (up to {ROOM / 1e6:.0f} MB in all)"
        return f"{text}, and {more} to go on from the last click"
    return text


def _target_text(net: Wrapped) -> str:
    if net.target is not None:
        names = net.spec.class_names
        return f"class {net.target}" + (f" ({names[net.target]})" if names else "")
    if net.spec.output.classes == 1:
        return "the object"
    if net.spec.output.classes == 2:
        return "class 1"
    return "the class under the first click; until then everything but class 0"


def spec_text(spec: ModelSpec, model_name: str, chosen: Sequence[str]) -> str:
    """The text: what was found out, and the lines about the options."""
    lines = [model_name + (f" ({spec.family})" if spec.family else "")]
    if spec.stem:
        calls = ", ".join(
            f"{call.module or 'the network itself'} {'×'.join(map(str, call.weight))}" for call in spec.stem[:3]
        )
        more = f" and {len(spec.stem) - 3} more" if len(spec.stem) > 3 else ""
        lines.append(f"  stem        {calls}{more} (reads the image; found by running the network)")
    else:
        lines.append("  stem        none found: variables 'maps' and 'kernels' need stem='…'; 'input' does not")
    if spec.used_again:
        lines.append(f"  image       also used by {', '.join(spec.used_again[:3])}")
    output = spec.output
    where = f"at {output.name!r} " if output.name else ""
    size = "input size" if output.scale == 1 else f"{output.scale:.3g} × input size"
    kinds = {"none": "logits", "sigmoid": "probabilities (sigmoid)", "softmax": "probabilities (softmax)"}
    undone = "" if output.activation == "none" else ", read before it" if output.bypassed else ", undone numerically"
    lines.append(f"  output      {where}{kinds[output.activation]}{undone}; {output.sure}; {size}")
    if output.others:
        lines.append(f"  also        {', '.join(output.others[:6])} (other maps it returns; output=… takes one)")
    named = (
        f": {', '.join(spec.class_names[:4])}{', …' if len(spec.class_names) > 4 else ''}" if spec.class_names else ""
    )
    lines.append(f"  classes     {output.classes}" + (" (one logit: object or not)" if output.classes == 1 else named))
    for letter, layer in spec.insertion_points().items():
        at = f"for {spec.probed[0]}×{spec.probed[1]} pixels"
        lines.append(f"  point {letter}     {layer.name} {'×'.join(map(str, layer.shape))} {at}")
    numbers = (f"{'/'.join(f'{v:.3g}' for v in values)}" for values in (spec.mean, spec.std))
    order = " in the order blue, green, red" if spec.bgr else ""
    lines.append(f"  input       {spec.channels} channels{order}, mean {next(numbers)}, std {next(numbers)}")
    lines.append(f"              ({spec.normalisation})")
    if spec.stride is not None:
        lines.append(f"  stride      {spec.stride} at the deepest map")
    longest = f"longest side {spec.resolution}" if spec.resolution else "photo's own size up to 1024"
    padded = f"multiples of {spec.divisor}" + (f", at least {spec.smallest}" if spec.smallest > 1 else "")
    if spec.fit == "squash":
        longest = f"squashed to {spec.resolution}×{spec.resolution}"
    if spec.divisor == 1 and spec.smallest == spec.resolution:
        padded = f"{spec.smallest}×{spec.smallest}, always"
    if spec.exact is not None:
        longest, padded = "as large as fits", f"{spec.exact[0]}×{spec.exact[1]}, always"
    lines.append(f"  size        {longest}, padded to {padded}")
    lines.extend(f"  {line}" for line in chosen)
    return "\n".join(lines)
