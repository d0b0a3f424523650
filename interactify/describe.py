"""What was found out about a network and which options are used, as a few lines of text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from math import isqrt, prod

import torch

from interactify.inspection.activation import PROBABILITIES
from interactify.inspection.outputs import OutputSpec
from interactify.inspection.probe import KNOWN, noise_image
from interactify.inspection.replica import unwrapped
from interactify.inspection.spec import RESOLUTION, ModelSpec
from interactify.refinement.wrapped import Wrapped
from interactify.runtime.pass_cache import ROOM
from interactify.runtime.suffix import Suffix


def describe(net: Wrapped) -> str:
    """See `Interactive.describe`."""
    why = {
        "input": "moves the image itself; the best measured for networks never trained for clicks",
        "smooth_input": "moves the image itself, smoothly",
        "maps": "moves interaction maps read through the first convolution's own kernels",
        "kernels": "moves zero-weighted kernels over maps of the clicks",
        "click_maps": "moves the network's own interaction maps",
        "scale_bias": "scales and shifts each channel of a layer",
        "bias_field": "shifts each channel of a layer, place by place",
        "conv1x1": "mixes the channels of a layer",
        "rows_columns": "weighs the rows, columns and channels of a layer",
    }
    name = net.variables.name
    refined = f"at most {net.max_evaluations} evaluations a click"
    if net.network.reads_clicks:
        refined += ", where the network's own answer leaves one unsatisfied" if net.max_evaluations else ": never"
    tried = _tried(net)
    chosen = [
        f"variables   {name} ({why.get(name.partition('@')[0], 'as asked for')})",
        f"energy      {net.energy.name}, inertia {net.energy.inertia:g}",
        f"solver      {net.solver}, {refined}",
        *_click_lines(net, tried),
        *([f"run         {how}"] if (how := net.runtime.executor.text(net.spec.device.type)) else []),
        *_precision_lines(net, tried),
        f"propagation {net.propagation}",
        f"target      {_target_text(net)}",
        *(["mirror      the mean of the image's maps and its mirror image's"] if net.options["mirror"] else []),
        *([f"values      {low_high[0]:g} is black, {low_high[1]:g} white"] if (low_high := net.value_range) else []),
        *([] if net.spec.sides == 3 else [f"zoom-in     {_zoom_text(net)}"]),
    ]
    return spec_text(net.spec, type(unwrapped(net.unwrap())).__name__, chosen)


def _zoom_text(net: Wrapped) -> str:
    return "from the second click on, where it shows the object larger" if net.zoom else "off"


def _precision_lines(net: Wrapped, tried: Suffix | None) -> list[str]:
    """In which type it computes, where that is not simply its own."""
    if net.network.autocast is not None:
        return [f"precision   autocast to {str(net.network.autocast).split('.')[-1]}"]
    if net.network.unsteered or tried is None:
        return []
    why = tried.unsteered
    return [f"precision   {f'float32: {why}' if why else 'bfloat16 steers a click; its result is of float32'}"]


def _tried(net: Wrapped) -> Suffix | None:
    """The suffix of an image of the size of the probe, whose network has run once; None for a click network."""
    if net.network.reads_clicks:
        return None
    spec = net.network.spec
    with torch.inference_mode(False):  # nothing can be recorded in it
        like = torch.empty(0, dtype=spec.dtype, device=spec.device)
        image = noise_image(spec.channels, spec.probed, like)
        suffix = Suffix(net.runtime, net.variables, image, net.variables.start(net.network, image))
        suffix.plain()
    return suffix


def _click_lines(net: Wrapped, suffix: Suffix | None) -> list[str]:
    """What an evaluation runs, and what is cached for a photo; tried on an image of the size of the probe."""
    if suffix is None:
        return ["click runs  the network once; then only what depends on the variables, where it is refined"]
    spec = net.network.spec
    if suffix.whole is not None:
        return [f"click runs  the whole network: {suffix.whole}"]
    pixels, unit = prod(suffix.image.shape[2:]), "megapixel" if spec.sides == 2 else "million voxels"
    memory = f"{_megabytes(suffix.bytes_kept / pixels)} for each {unit} that the network sees"
    if spec.sides == 2 and suffix.shared and suffix.bytes_made:
        side = isqrt(ROOM * pixels // suffix.bytes_made)
        memory += f"; up to {side}×{side} pixels, its last pass too ({_megabytes(ROOM / 1e6)} at most)"
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
    where = f"at {output.name!r}: " if output.name else ""
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
    return f"{where}{kinds[output.activation]}{undone}; {output.sure}; {_scale_text(output.scale)}{order}"


def _scale_text(scale: float) -> str:
    """The size of a map, by its width over the image's.

    >>> _scale_text(1.0), _scale_text(0.25), _scale_text(0.03125), _scale_text(0.506)
    ('input size', '1/4 of the input size', '1/32 of the input size', '0.506 × input size')
    """
    if scale == 1:
        return "input size"
    part = round(1 / scale)
    return f"1/{part} of the input size" if part > 1 and scale * part == 1 else f"{scale:.3g} × input size"


def _classes_text(spec: ModelSpec) -> str:
    """The classes' names, and whether a pixel has one of them or may have several."""
    output = spec.output
    if output.classes == 1:
        return " (one logit: object or not)"
    names = list(spec.class_names[:4])
    if len(", ".join(names)) > 60:  # without their synonyms, which ImageNet's have: "tench, Tinca tinca" is a tench
        names = [name.partition(",")[0] for name in names]
    named = f": {', '.join(names)}{', …' if len(spec.class_names) > 4 else ''}" if names else ""
    if not output.exclusive:
        return f"{named} (a pixel may have several)"
    stated = output.activation == "softmax" or output.sure in ("as given", KNOWN)
    return named + ("" if stated else " (a pixel has one; activation='sigmoid-logits' if it may have several)")


def _wrapped(label: str, text: str) -> list[str]:
    """The lines of a text, after its label."""
    return textwrap.wrap(
        text, 120, initial_indent=f"  {label:<12}", subsequent_indent=" " * 14, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _shaped(name: str, shape: Sequence[int]) -> str:
    """A layer with the shape of its map or weights. The colon keeps them apart where the name is a number."""
    return f"{name or 'the network itself'}: {'×'.join(map(str, shape))}"


def spec_text(spec: ModelSpec, model_name: str, chosen: Sequence[str]) -> str:
    """The text: what was found out, and the lines about the options."""
    lines = [model_name + (f" ({spec.family})" if spec.family else "")]
    if spec.stem:
        # One that runs twice, as on image and mirror image, is one.
        named = list(dict.fromkeys(_shaped(call.module, call.weight) for call in spec.stem))
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        lines += _wrapped("stem", f"{', '.join(named[:3])}{more} (reads the image; found by running the network)")
    else:
        lines.append("  stem        none found: variables 'maps' and 'kernels' need stem='…'; 'input' does not")
    if spec.used_again:
        lines.append(f"  image       also used by {', '.join(spec.used_again[:3])}")
    output = spec.output
    lines += _wrapped("output", _output_text(output))
    if output.others:
        others = ", ".join(re.sub(r" (?=\S+$)", ": ", other) for other in output.others)
        lines += _wrapped("also", f"{others} (other maps it returns; output=… takes one)")
    for doubt in output.doubts:
        lines += _wrapped("guess", doubt)
    lines += _wrapped("classes", f"{output.classes}{_classes_text(spec)}")
    kind, size = "an image" if spec.sides == 2 else "a volume", "×".join(map(str, spec.probed))
    use = f" (for variables='scale_bias@A' and the like; the map of {kind} of {size})"
    for letter, layer in spec.insertion_points().items():
        lines += _wrapped(f"point {letter}", _shaped(layer.name, layer.shape) + use)
        use = ""
    numbers = (f"{'/'.join(f'{v:.3g}' for v in values)}" for values in (spec.mean, spec.std))
    order = " in the order blue, green, red" if spec.bgr else ""
    channels = f"{spec.channels} channel{'' if spec.channels == 1 else 's'}"
    lines.append(f"  input       {channels}{order}, mean {next(numbers)}, std {next(numbers)}")
    lines.append(f"              ({spec.normalisation})")
    if spec.click_maps is not None:
        lines.append(f"  clicks      {spec.click_maps}, read beside the image")
    if spec.stride is not None:
        lines.append(f"  stride      {spec.stride} at the deepest map")
    lines += _wrapped("size", _size_text(spec))
    for line in chosen:
        lines += _wrapped(line[:12].rstrip(), line[12:])
    return "\n".join(lines)


def _window_text(spec: ModelSpec) -> str:
    """Of how many voxels a volume is seen whole, and in what windows a larger one."""
    if spec.exact is not None:
        return f"windows of {'×'.join(map(str, spec.exact))} voxels, always"
    sides = f"up to {spec.resolution or RESOLUTION} voxels a side, larger volumes in overlapping windows of this size"
    return f"{sides}; padded to multiples of {spec.divisor}" if spec.divisor > 1 else f"{sides}; not padded"


def _size_text(spec: ModelSpec) -> str:
    """At which size the network sees a photo, and what that is padded to."""
    if spec.sides == 3:
        return _window_text(spec)
    if spec.exact is not None:
        return f"as large as fits, padded to {spec.exact[0]}×{spec.exact[1]}, always"
    longest = f"longest side {spec.resolution}" if spec.resolution else "photo's own size up to 1024"
    if spec.fit == "squash":
        longest = f"squashed to {spec.resolution}×{spec.resolution}"
    if spec.divisor == 1 and spec.smallest == spec.resolution:
        return f"{longest}, padded to {spec.smallest}×{spec.smallest}, always"
    padded = f"padded to multiples of {spec.divisor}" if spec.divisor > 1 else "not padded"
    if spec.smallest > 1:
        padded += f", at least {spec.smallest}"
    if spec.divisor_assumed:
        padded += " (assumed, as most accept it; divisor=… for less)"
    return f"{longest}, {padded}"
