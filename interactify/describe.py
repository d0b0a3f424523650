"""What was found out about a network and which options are used, as a few lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from math import isqrt

import torch

from interactify.inspection.activation import PROBABILITIES
from interactify.inspection.outputs import OutputSpec
from interactify.inspection.probe import noise_image
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
        *_click_lines(net),
        *([f"run         {how}"] if (how := net.runtime.executor.text(net.spec.device.type)) else []),
        *([f"precision   autocast to {str(cast).split('.')[-1]}"] if (cast := net.network.autocast) else []),
        f"follows     {net.propagation}",
        f"target      {_target_text(net)}",
        *(["mirror      the mean of the image's maps and its mirror image's"] if net.options["mirror"] else []),
        *([f"values      {low_high[0]:g} is black, {low_high[1]:g} white"] if (low_high := net.value_range) else []),
        f"zoom-in     {'from the second click on, where it shows the object larger' if net.zoom else 'off'}",
    ]
    return spec_text(net.spec, type(unwrapped(net.unwrap())).__name__, chosen)


def _click_lines(net: Wrapped) -> list[str]:
    """What an evaluation runs, and what is cached for a photo; tried on an image of the size of the probe."""
    spec = net.network.spec
    with torch.inference_mode(False):  # nothing can be recorded in it
        like = torch.empty(0, dtype=spec.dtype, device=spec.device)
        image = noise_image(spec.channels, spec.probed, like)
        suffix = Suffix(net.runtime, net.variables, image, net.variables.start(net.network, image))
        suffix.plain()
    if suffix.whole is not None:
        return [f"click runs  the whole network: {suffix.whole}"]
    pixels = image.shape[-2] * image.shape[-1]
    memory = f"{_megabytes(suffix.bytes_kept / pixels)} for each megapixel that the network sees"
    if suffix.shared and suffix.bytes_made:
        side = isqrt(ROOM * pixels // suffix.bytes_made)
        memory += f"; up to {side}×{side} pixels the last pass too ({_megabytes(ROOM / 1e6)} at most)"
    return ["click runs  only what depends on the variables", f"memory      {memory}"]


def _megabytes(value: float) -> str:
    """A number of megabytes as people read it.

    >>> _megabytes(4.0), _megabytes(0.0123), _megabytes(1138.4)
    ('4 MB', '0.012 MB', '1138 MB')
    """
    return f"{value:.0f} MB" if value >= 10 else f"{value:.2g} MB"


def _target_text(net: Wrapped) -> str:
    if net.target is not None:
        names = net.spec.class_names
        return f"class {net.target}" + (f" ({names[net.target]})" if names else "")
    if net.spec.output.classes == 1:
        return "the object"
    if net.spec.output.classes == 2:
        return "class 1"
    return "the class under the first click; until then everything but class 0"


def _output_text(output: OutputSpec) -> str:
    """Where the map is, what it contains, how that is known, and its size."""
    where = f"at {output.name!r} " if output.name else ""
    size = "input size" if output.scale == 1 else f"{output.scale:.3g} × input size"
    kinds = {
        "none": "logits",
        "sigmoid-logits": "logits (a sigmoid for each class)",
        "sigmoid": "probabilities (sigmoid)",
        "softmax": "probabilities (softmax)",
    }
    undone = ""
    if output.activation in PROBABILITIES:
        undone = ", read before it" if output.bypassed else ", undone numerically"
    order = "; channels last" if output.channels_last else ""
    return f"{where}{kinds[output.activation]}{undone}; {output.sure}; {size}{order}"


def _classes_text(spec: ModelSpec) -> str:
    """The classes' names, and whether a pixel has one of them or may have several."""
    names, output = spec.class_names, spec.output
    if output.classes == 1:
        return " (one logit: object or not)"
    named = f": {', '.join(names[:4])}{', …' if len(names) > 4 else ''}" if names else ""
    if not output.exclusive:
        return f"{named} (a pixel may have several)"
    stated = output.activation == "softmax" or output.sure == "as given"
    return named + ("" if stated else " (a pixel has one; activation='sigmoid-logits' if it may have several)")


def _wrapped(label: str, text: str) -> list[str]:
    """The lines of a long text, after its label."""
    return textwrap.wrap(text, 120, initial_indent=f"  {label:<12}", subsequent_indent=" " * 14, break_on_hyphens=False)


def spec_text(spec: ModelSpec, model_name: str, chosen: Sequence[str]) -> str:
    """The text: what was found out, and the lines about the options."""
    lines = [model_name + (f" ({spec.family})" if spec.family else "")]
    if spec.stem:
        calls = [f"{call.module or 'the network itself'} {'×'.join(map(str, call.weight))}" for call in spec.stem]
        named = list(dict.fromkeys(calls))  # one that runs twice, as on image and mirror image, is one
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        lines.append(f"  stem        {', '.join(named[:3])}{more} (reads the image; found by running the network)")
    else:
        lines.append("  stem        none found: variables 'maps' and 'kernels' need stem='…'; 'input' does not")
    if spec.used_again:
        lines.append(f"  image       also used by {', '.join(spec.used_again[:3])}")
    output = spec.output
    lines.append(f"  output      {_output_text(output)}")
    if output.others:
        lines += _wrapped("also", f"{', '.join(output.others)} (other maps it returns; output=… takes one)")
    for doubt in output.doubts:
        lines += _wrapped("guess", doubt)
    lines.append(f"  classes     {output.classes}{_classes_text(spec)}")
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
    if spec.divisor_assumed:
        padded += " (assumed, since most networks accept it: divisor=… for less)"
    if spec.divisor == 1 and spec.smallest == spec.resolution:
        padded = f"{spec.smallest}×{spec.smallest}, always"
    if spec.exact is not None:
        longest, padded = "as large as fits", f"{spec.exact[0]}×{spec.exact[1]}, always"
    lines.append(f"  size        {longest}, padded to {padded}")
    lines.extend(f"  {line}" for line in chosen)
    return "\n".join(lines)
