"""wrap_values(model) → ValueNetwork: a network whose map is a number for each pixel, not a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from interactify.adapters import Adapter
from interactify.describe import spec_text
from interactify.errors import ModelError, OptionError, warn_user, with_type
from interactify.inspection.outputs import Output
from interactify.inspection.replica import unwrapped
from interactify.inspection.spec import Fit, Numbers
from interactify.interactive import Interactive, wrap
from interactify.models.files import ModelLike
from interactify.network.variables import Variables
from interactify.pictures.picture import PictureLike
from interactify.pictures.value_range import ValueRange
from interactify.runtime.suffix import reads_clicks
from interactify.values.goals import ALIGNMENTS
from interactify.values.session import ValueSession
from interactify.values.session_file import load_values


@dataclass(frozen=True, eq=False, repr=False)
class ValueNetwork:
    """A network of values that follows interactions. Made by `interactify.wrap_values`.

    Attributes:
        net: what the network's own options were wrapped as.
        tolerance: how far a value may be from its goal, in the user's units; None for a fiftieth of the range of the
            network's own map of a photo.
        alignment: what is found from the values that a user gives: "none", "shift", "scale" or "scale_shift".
    """

    net: Interactive
    tolerance: float | None
    alignment: str

    def session(self, photo: PictureLike, *, value_range: ValueRange | None = None) -> ValueSession:
        """Open a photo for value interactions.

        Args:
            photo: as for `Interactive.session`.
            value_range: (low, high), the values of the photo that are black and white.

        Warns:
            InteractifyWarning: the photo has 16 bits, of which only the lower ones are used: it is nearly black.

        Raises:
            PhotoError: the photo can't be read.
            ModelError: the network fails on it.
            NonFiniteError: the network returns NaN or infinity for it.
            NotEnoughMemoryError: the network needs more memory than there is.
        """
        now = self.net.now()
        session = ValueSession(now, now.picture(photo, value_range), self.tolerance, self.alignment)
        if note := session.refiner.picture.dim_note():
            warn_user(note)
        return session

    def load_session(
        self, path: str | Path, photo: PictureLike, *, value_range: ValueRange | None = None
    ) -> ValueSession:
        """Continue a session that `ValueSession.save` wrote, on the same photo and network, with the same options.

        Raises:
            CheckpointError: another file, photo, network or options.
            PhotoError, ModelError: as `session`.
        """
        session = self.session(photo, value_range=value_range)
        session.history = load_values(path, session.refiner)
        return session

    def describe(self) -> str:
        """A few lines of text: what was found out about the network, and which options are used."""
        now = self.net.now()
        tolerance = "a fiftieth of the range of the map" if self.tolerance is None else f"{self.tolerance:g}"
        what = "numbers, in the network's own units" if now.spec.numbers is None else now.spec.numbers.what
        chosen = [
            f"reads       its map as {what}",
            f"variables   {now.variables.name}",
            f"solver      {now.solver}, at most {now.max_evaluations} evaluations for an interaction",
            f"tolerance   {tolerance}",
            f"alignment   {self.alignment}",
        ]
        text = spec_text(now.spec, type(unwrapped(now.unwrap())).__name__, chosen)
        lines = (line for line in text.splitlines() if not line.startswith("  classes "))
        return "\n".join(lines).replace("logits; as given; ", "numbers; ", 1)

    def unwrap(self) -> nn.Module:
        """The user's own model, untouched."""
        return self.net.unwrap()

    def to(self, device: str | torch.device) -> ValueNetwork:
        """A copy on another device; this one and the model stay where they are. Raises as `Interactive.to`."""
        return ValueNetwork(self.net.to(device), self.tolerance, self.alignment)

    def __repr__(self) -> str:
        return f"ValueNetwork({type(self.unwrap()).__name__}, variables={self.net.variables.name!r})"


def wrap_values(
    model: ModelLike,
    *,
    tolerance: float | None = None,
    alignment: str | None = None,
    variables: str | Variables | None = None,
    solver: str = "lbfgs",
    output: Output = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    bgr: bool | None = None,
    value_range: ValueRange | None = None,
    resolution: int | None = None,
    fit: Fit | None = None,
    divisor: int | None = None,
    adapter: str | Adapter | None = None,
    max_evaluations: int = 40,
    max_seconds: float | None = None,
    mirror: bool = False,
    precision: str = "float32",
    compile: bool = False,
) -> ValueNetwork:
    """Make a network of values follow interactions, without training it: alpha mattes, depth, height, flow magnitude.

    Its map is one number for each pixel. A user says what the number is at a pixel, that two pixels have the same one,
    or which has the higher one; the squared error in the network's own units, divided by the tolerance, is minimised
    over the variables. Before any interaction the map is the network's own, to the last bit.

    Args:
        model: as for `wrap`, with one map of numbers.
        tolerance: how far from its goal a value may be, above 0, in the network's units, or in the user's where there
            is an alignment. By default 0.02 of a matte of a known family, and else a fiftieth of the range of the
            network's own map of the photo.
        alignment: what the network leaves open of its units, and the given values tell, by least squares: "none",
            "shift", "scale", or "scale_shift" as for monocular depth. By default what a known family leaves open, and
            "none" for others.
        variables: "input", or a layer's, as for `wrap`.
        output, mean, std, bgr, value_range, resolution, fit, divisor, adapter, solver, max_evaluations, max_seconds,
            mirror, precision, compile: as for `wrap`.

    Returns:
        A `ValueNetwork`: `.session(photo)`, then `.click(x, y, value=0.4)`.

    Warns:
        InteractifyWarning: mean and std had to be assumed, or which output is the map.

    Raises:
        ModelError: as `wrap`; also for a network of several maps, of volumes, or that reads clicks.
        OptionError: as `wrap`; also for variables that read clicks, another alignment, or a tolerance of 0 or less.

    Lin, Price & Martinez, "Generalizing Interactive Backpropagating Refinement for Dense Prediction Networks", CVPR
    2022, section 3, refine mattes and depth in this way.

    >>> net = interactify.wrap_values(nn.Conv2d(3, 1, 1), mean=0.5, std=0.5)
    >>> net
    ValueNetwork(Conv2d, variables='input')
    """
    if alignment is not None and alignment not in ALIGNMENTS:
        raise OptionError(f"Expected alignment to be one of {', '.join(ALIGNMENTS)}, got {alignment!r}.")
    number = isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool)
    if tolerance is not None and not (number and 0 < float(tolerance) < float("inf")):
        raise OptionError(f"Expected tolerance to be a number above 0, or None, got {with_type(tolerance)}. Try 0.02.")
    if max_evaluations == 0 and not isinstance(max_evaluations, bool):
        raise OptionError("Expected max_evaluations to be a whole number of 1 or more, got 0.")
    net = wrap(
        model,
        variables=variables,
        solver=solver,
        output=output,
        activation="none",
        mean=mean,
        std=std,
        bgr=bgr,
        value_range=value_range,
        resolution=resolution,
        fit=fit,
        divisor=divisor,
        adapter=adapter,
        max_evaluations=max_evaluations,
        max_seconds=max_seconds,
        zoom=False,
        mirror=mirror,
        propagation="none",
        precision=precision,
        compile=compile,
    )
    net.check_reads_images()
    if net.network.reads_clicks:
        raise ModelError("Expected a network that reads images alone, got a click network. Try interactify.wrap.")
    if net.spec.output.classes != 1:
        raise ModelError(
            f"Expected a network of one map of numbers, got {net.spec.output.classes} maps. Try output=lambda raw: "
            "raw[:, :1] for the first one."
        )
    if reads_clicks(net.variables):
        raise OptionError(
            f"Expected variables that do not read clicks, got {net.variables.name!r}. Try 'input', or "
            "'scale_bias@LAYER'."
        )
    numbers = net.spec.numbers or Numbers("numbers")
    if tolerance is None:
        tolerance = numbers.tolerance
    return ValueNetwork(net, None if tolerance is None else float(tolerance), alignment or numbers.alignment)
