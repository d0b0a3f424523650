"""wrap(model) → Interactive: the library's front, where its parts are put together.

The module is not called `wrap`, because importing it would then replace `interactify.wrap`, the function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from threading import RLock
from typing import Any, TypeAlias, cast, overload

import torch
from torch import nn

from interactify.adapters import Adapter, knowledge_of
from interactify.brs.energy import Energy, energy_named, usual_energy
from interactify.brs.refinement import check_evaluations, check_seconds, check_solver
from interactify.describe import describe
from interactify.errors import OptionError, quietly, warn_user, within_memory
from interactify.inspection.activation import Activation
from interactify.inspection.click_input import ClickMaps
from interactify.inspection.devices import device_named
from interactify.inspection.given import STATED, check_is_of_classes, given_knowledge
from interactify.inspection.inspected import inspected
from interactify.inspection.normalisation import assumption
from interactify.inspection.outputs import Output
from interactify.inspection.replica import independent_copy_of, replica_of, unwrapped
from interactify.inspection.spec import Fit
from interactify.interactions.click import Interaction
from interactify.models.files import ModelLike, as_module
from interactify.network.click_network import of_images
from interactify.network.input_check import check_normalisation, check_size
from interactify.network.input_report import InputCheck
from interactify.network.insertion_points import InsertionPoints, insertion_points
from interactify.network.network import Network
from interactify.network.variables import Variables, check_variables, usual_variables, variables_named
from interactify.pictures.picture import PictureLike
from interactify.pictures.resize_pad import check_fit
from interactify.pictures.value_range import ValueRange, checked_value_range
from interactify.propagation.propagation import Propagation, propagation_for, propagation_named
from interactify.refinement.result import Result
from interactify.refinement.wrapped import Wrapped
from interactify.runtime.runtime import Runtime
from interactify.session.batch import refine
from interactify.session.session import Session
from interactify.slices.session import REACH, SliceSession
from interactify.volumes.session import VolumeSession, refine_volumes
from interactify.volumes.volume import Volume

Target: TypeAlias = int | str | None
Tile: TypeAlias = int | bool | None
Range: TypeAlias = ValueRange | None


@dataclass(frozen=True, eq=False, repr=False)
class Interactive(Wrapped):
    """A network that follows clicks. Made by `interactify.wrap`.

    It follows its model: where the model has changed since (trained further, other weights or statistics, another
    module, a hook, another precision or device), the next session, `refine` or `describe` finds that out and wraps it
    anew, with the same options. A session that was opened before raises ModelChangedError at its next interaction.
    """

    _lock: RLock = field(default_factory=RLock, init=False)

    @overload
    def session(self, photo: Volume, *, target: Target = None, value_range: Range = None) -> VolumeSession: ...
    @overload
    def session(
        self, photo: PictureLike, *, target: Target = None, tile: Tile = None, value_range: Range = None
    ) -> Session: ...
    def session(
        self, photo: Any, *, target: Target = None, tile: Tile = None, value_range: Range = None
    ) -> Session | VolumeSession:
        """Open a photo for interactions; for a network of volumes, a volume: its session is a `VolumeSession`.

        Args:
            photo: a path (EXIF rotation honoured), a PIL image of any mode, an array (H, W, 3) uint8, a tensor
                (C, H, W) in [0, 1], or an array on disk, of which only the needed parts are read (`open_picture`). A
                volume: an array or tensor (D, H, W) or (C, D, H, W), or a `Volume`, in the units that mean and std
                have (`open_volume`).
            target: the class of a positive click, as for `wrap`; by default the one given there.
            tile: the side, in photo pixels, of the tiles of a picture that is too large for the network to see whole;
                False to see it whole. By default a picture of more than 8192 pixels on its longer side has tiles, with
                four times the network's resolution, and 1024 at least. Read only parts of such a picture's results,
                `result.mask_in(window)`: the whole mask takes a pass for every tile.
            value_range: (low, high), the values of the photo that are black and white; by default those of `wrap`.

        Warns: InteractifyWarning where a photo has 16 bits, of which only the lower ones are used: it is nearly black.

        Raises:
            PhotoError: the photo can't be read.
            ModelError, NonFiniteError: the network fails on it, or returns NaN or infinity for it.
            NotEnoughMemoryError, OptionError: too little memory; an unknown target, or an invalid range of values.
        """
        if self.spec.sides == 3:
            return VolumeSession(self, photo, target, value_range=value_range)
        return Session(self, photo, target, tile=tile, value_range=value_range)

    def slices(
        self, volume: Any, *, axis: int = 0, reach: int = REACH, target: Target = None, value_range: Range = None
    ) -> SliceSession:
        """Open a volume for a network of images, which sees it slice by slice; corrections pass on to slices beside.

        Args:
            volume, target, value_range: as for `session`; slices along `axis`, 0, 1 or 2 of (D, H, W), are photos.
            reach: over how many slices a correction is carried at most, to each side; 0 for none.

        Raises: ModelError for a network of volumes, OptionError for another axis or reach, all else as `session`.
        """
        return SliceSession(self, volume, axis=axis, reach=reach, target=target, value_range=value_range)

    def refine(
        self,
        images: PictureLike | Sequence[PictureLike],
        interactions: Sequence[Sequence[Interaction]],
        *,
        target: Target = None,
        value_range: Range = None,
    ) -> list[Result]:
        """Refine many objects in one photo, or many photos, in one call without a session.

        Objects in one photo share everything that does not depend on the variables, and their first pass. On a CPU they
        are refined side by side in threads; on a GPU as many run together as its memory holds. Each object is refined
        alone, as the first step of a new session on the photo.

        Args:
            images: one photo for all, or a list with a photo for each list of interactions. If the same Python object
                is in it several times, it is opened once. What a photo can be: see `session`.
            interactions: for each object a list of interactions, refined together in the whole photo. An empty list
                gives the network's own prediction.
            target, value_range: as for `session`.

        Returns: A `Result` for each list of interactions, in their order (a `VolumeResult` for a network of volumes, of
            `VoxelClick`s). `max_seconds` is for each photo.

        Raises:
            InteractionError: a click outside its photo, or another number of photos than of lists; before any work.
            PhotoError, ModelError, NonFiniteError, OptionError: as `session` and `Session.click`.

        >>> net = interactify.wrap(interactify.zoo.load())
        >>> objects = [[interactify.Click(10, 20)], [interactify.Click(50, 30), interactify.Click(70, 5, False)]]
        >>> [result.satisfied for result in net.refine(np.zeros((60, 80, 3), np.uint8), objects)]
        [True, True]
        """
        if self.spec.sides == 3:
            return cast(list[Result], refine_volumes(self, images, interactions, target, value_range))
        return refine(self, images, interactions, target, value_range)

    def describe(self) -> str:
        """A few lines of text: what was found out about the network, and which options are used and why."""
        return describe(self.now())

    def check_normalisation(self, photos: Sequence[PictureLike], *, progress: bool = False) -> InputCheck:
        """Compare the usual normalisations on a few photos: with which one does the network work as it was trained?

        No masks are needed. Ordered by how far the maps inside are from what the batch norms remember of the training;
        for networks without batch norms, by how far predictions for a photo, a part of it and a mirrored part agree.

        Args:
            photos: about ten photos of the kind that the network was trained for, in any form that `session` takes.
            progress: show a progress bar.

        Returns:
            An `InputCheck`: `print` it. `options` are the arguments of `wrap` for the best one, None where it can't be
            told. Each photo takes three runs of the network for each of about a dozen normalisations.

        Raises: OptionError without photos and for a network of volumes, all else as `session`.

        >>> net = interactify.wrap(interactify.zoo.load(), resolution=96)
        >>> check = net.check_normalisation([np.zeros((60, 80, 3), np.uint8)])
        >>> check.options is None, check.doubt
        (True, '1 photos are too few: try 3 or more, better ten')
        """
        return check_normalisation(self.now().network, photos, self.picture, progress)

    def check_size(
        self, photos: Sequence[PictureLike], *, resolutions: Sequence[int] | None = None, progress: bool = False
    ) -> InputCheck:
        """Compare resolutions, letterboxed and squashed, on a few photos: where are the predictions most stable?

        Check the normalisation first: with a wrong one no size is right.

        Args:
            photos, progress: as for `check_normalisation`.
            resolutions: the sides to compare, in network pixels; by default half to double of the present one.

        Returns, raises: as `check_normalisation`. A size that the network does not accept is left out.

        >>> net = interactify.wrap(interactify.zoo.load(), resolution=96)
        >>> check = net.check_size([np.zeros((60, 80, 3), np.uint8)], resolutions=[64])
        >>> sorted(row.name for row in check.rows)
        ['64, letterbox', '64, squash', '96, letterbox (as wrapped)']
        """
        return check_size(self.now().network, photos, self.picture, resolutions, progress)

    def insertion_points(self) -> InsertionPoints:
        """All layers where variables can act, as `wrap(variables="scale_bias@NAME")` names them; prints as a table.

        Each has a name, a shape (C, h, w), the share of the network's floating-point operations that depend on it, and
        a letter where it is one of f-BRS's insertion points. The network is run once for this.

        >>> points = interactify.wrap(interactify.zoo.load()).insertion_points()
        >>> [(point.name, point.share) for point in points if point.share == 1.0]
        [('input', 1.0)]
        """
        return insertion_points(self.now().network)

    def to(self, device: str | torch.device) -> Interactive:
        """A copy on another device, wrapped with the same options; this one and the model stay where they are.

        Args:
            device: "cuda", "cuda:1", "mps", "cpu" or a `torch.device`.

        Returns:
            A new `Interactive` over a copy of the model, or this one where it is on that device already. Sessions stay
            on their device: `session.save` and `load_session` move one, as far as both devices round alike.

        Raises: OptionError for a device that this machine lacks, NotEnoughMemoryError where the model is too large.

        >>> net = interactify.wrap(interactify.zoo.load())
        >>> net.to("cpu") is net
        True
        """
        there = device_named(device)
        own = self.spec.device
        if there.type == own.type and there.index in (None, own.index):
            return self
        with within_memory():
            return wrap_again(independent_copy_of(self.model).to(there), self.options)

    def now(self) -> Wrapped:
        """The network as its model is now, for one session: wrapped anew where the model has changed.

        All weights are read for this once. A session calls it when it is opened. Raises ModelError or OptionError where
        the changed model can't be wrapped with the same options.
        """
        with self._lock:
            if self.state.change(every_value=True):
                fresh = wrap_again(self.model, self.options)
                for each in fields(Wrapped):  # all at once, and by nothing but this: what sessions hold stays as it is
                    object.__setattr__(self, each.name, getattr(fresh, each.name))
            return Wrapped(**{each.name: getattr(self, each.name) for each in fields(Wrapped)})

    def __repr__(self) -> str:
        name = type(self.model).__name__
        return f"Interactive({name}, variables={self.variables.name!r}, energy={self.energy.name!r})"


@torch.inference_mode(False)  # tensors that are created in a caller's inference mode allow no gradients
def wrap(
    model: ModelLike,
    *,
    variables: str | Variables | None = None,
    energy: str | Energy | None = None,
    solver: str = "lbfgs",
    target: int | str | None = None,
    output: Output = None,
    activation: Activation | None = None,
    class_names: Sequence[str] = (),
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    bgr: bool | None = None,
    value_range: ValueRange | None = None,
    resolution: int | None = None,
    fit: Fit | None = None,
    divisor: int | None = None,
    stem: str | None = None,
    points: Mapping[str, str] | None = None,
    adapter: str | Adapter | None = None,
    click_maps: ClickMaps | None = None,
    max_evaluations: int = 40,
    max_seconds: float | None = None,
    zoom: bool = True,
    mirror: bool = False,
    propagation: str | Propagation | None = None,
    precision: str = "auto",
    compile: bool = False,
    cuda_graphs: bool = False,
) -> Interactive:
    """Make a segmentation network follow clicks, without training it; one of images, or one of volumes.

    The network is run once on a small random image, to find out its layers and output. The model is never changed: a
    replica that shares its weights is run instead.

    Args:
        model: any `nn.Module` from image batches (N, C, H, W), or volumes (N, C, D, H, W), to something that contains
            a per-pixel map. Also an `ExportedProgram`, an `onnx.ModelProto`, or a `.pt2`, TorchScript or `.onnx` file.
        variables: what refinement moves: "input" (the image), "smooth_input" (the image, smoothly), "maps" (interaction
            maps read through the first convolution's kernels), "kernels" (zero-weighted stem kernels over click maps),
            "click_maps" (a click network's own interaction maps), or a `Variables`. At a layer, a module's name, or A,
            B, C as in f-BRS:
            "scale_bias@LAYER" (of each channel), "bias_field@LAYER" (of each channel at each place),
            "conv1x1@LAYER" (of at most 512 channels), "rows_columns@LAYER" (weights of rows, columns and channels). By
            default "click_maps" for click networks, "input" for others.
        energy: "margin", "settling", "brs" or "fbrs", or an `Energy`. By default "settling", in volumes "margin".
        solver: "lbfgs" (in torch, on the device) or "scipy" (the reference).
        target: the class of a positive click, for networks of several classes: an index, a name where the names are
            known, or "clicked", the class under the first click. By default class 1 of two classes, and of more the
            clicked one.
        output: key, index, dotted path or callable that leads to the map, where the network returns several outputs.
        activation: what the network applies to its map: "sigmoid", "softmax", or "none" if it returns logits; found by
            default. Logits of several classes are taken for those of a softmax, of which a pixel has one class:
            "sigmoid-logits" if each class has a sigmoid of its own (trained with binary cross-entropy).
        class_names: one for each class, in order; for `target`.
        mean, std: normalisation of images in [0, 1], (image - mean) / std, a number or one for each channel; std may be
            negative (mean=1, std=-1 for 1 - image). By default what the network states or its family is trained with;
            else, with a warning, ImageNet's for 3 channels, none for others.
        bgr: True for a network that reads blue, green, red.
        value_range: (low, high), the values of photos that are 0 and 1 before mean and std; what lies beyond is
            clipped. By default 0 and 255 of uint8, 0 and 65535 of uint16, 0 and 1 of floats. With it, photos of any
            whole numbers and floats are accepted: (0, 4095) for 12 bits in uint16, (-160, 240) for Hounsfield units.
        resolution: longest side, in pixels, at which the network sees a photo; by default what the network states, else
            the photo's own, up to 1024.
        fit: "letterbox" (the default) keeps a photo's aspect ratio, and pads; "squash" resizes photos, and the windows
            that it zooms in to, to squares of `resolution`, as some networks are trained. `check_size` compares them.
        divisor: what the network needs height and width to be divisible by; photos are padded to it. By default 32, or
            what the family is known to need.
        stem: name of the module that reads the image, where running the network does not find it.
        points: names of modules for the insertion points "A", "B", "C".
        adapter: name of the adapter that knows the network's family, or an adapter; by default the one that recognises
            it. "generic" finds everything by running the network.
        click_maps: for a click network, of (N, C + M, H, W), how its maps are drawn; by default as it states itself.
        max_evaluations: how often the network may be run with gradient for one click; a click network is refined only
            where its forward pass leaves a click unsatisfied, and with 0 never.
        max_seconds: how long a click may take, in seconds; checked between evaluations. The best result is returned.
        zoom: from the second click on, zoom in to the object and the clicks, where the network then sees the object
            larger; outside of that part the mask stays as it was.
        mirror: average the network's maps of the image and of its mirror image. Twice the work; with the embedded
            network no fewer clicks (docs/tried.md), others may gain. Not with variables "maps" and "kernels".
        propagation: how a correction spreads over the picture: "colour" (along edges, and to the object's colours in
            this photo), "careful" (so, as far as it suits the network's own map; a large change of a steady mask only
            among the colours of what was clicked), "edges" (a guided filter on the map), "near" (as by default; only
            near the clicks), "none", or a `Propagation`. By default "none" for click networks and volumes (which have
            no colours), "edges" for others of more than two classes, "careful" for the rest.
        precision: "auto": float32, but on processors with AMX what only steers a click is evaluated in
            bfloat16 (never its result). "float32": everything. "bfloat16", "float16" (for GPUs; small gradients may
            vanish): convolutions and matrix products under autocast; variables and energy stay in float32.
        compile: run the part that depends on the variables with torch.compile. The first click on a photo of a new
            shape waits for the compiler, up to minutes; this pays for many photos of one shape.
        cuda_graphs: on a GPU, replay that part as CUDA graphs from the seventh evaluation of a shape on: the same
            passes, launched at once. Each of up to four shapes holds the memory of a forward and a backward pass. Where
            that can't be done, `describe()` gives the reason. No effect on other devices; not together with `compile`.

    Returns:
        An `Interactive`: `.session(photo)` to click, `.describe()` for what was found, `.unwrap()` for the model.

    Warns:
        InteractifyWarning: mean and std had to be assumed, or which output is the map, or what it contains; or
            precision="float16" on a processor.

    Raises:
        ModelError: the model can't be copied, run or differentiated, returns no map, finds objects, lacks a named layer
            or interaction maps, or is known to return numbers such as a depth: see `wrap_values`.
        CheckpointError: a file that is missing or damaged, or holds weights alone.
        OptionError: an unknown name, an invalid value, or a layer with too many channels for "conv1x1@LAYER".
        AdapterError: an adapter of another package fails.

    Jang & Kim, "Interactive Image Segmentation via Backpropagating Refinement Scheme", CVPR 2019; Sofiiuk et al.,
    "f-BRS: Rethinking Backpropagating Refinement for Interactive Segmentation", CVPR 2020; Lin, Price & Martinez,
    "Generalizing Interactive Backpropagating Refinement for Dense Prediction Networks", CVPR 2022; Rupprecht et al.,
    "Guide Me: Interacting with Deep Networks", CVPR 2018.

    >>> net = interactify.wrap(interactify.zoo.load())
    >>> net
    Interactive(Unet, variables='input', energy='settling')
    """
    options = {
        "variables": variables,
        "energy": energy,
        "solver": solver,
        "target": target,
        "output": output,
        "activation": activation,
        "class_names": class_names,
        "mean": mean,
        "std": std,
        "bgr": bgr,
        "value_range": checked_value_range(value_range),
        "resolution": resolution,
        "fit": fit,
        "divisor": divisor,
        "stem": stem,
        "points": points,
        "adapter": adapter,
        "click_maps": click_maps,
        "max_evaluations": max_evaluations,
        "max_seconds": max_seconds,
        "zoom": zoom,
        "mirror": mirror,
        "propagation": propagation,
        "precision": precision,
        "compile": compile,
        "cuda_graphs": cuda_graphs,
    }
    chosen_energy = None if energy is None else energy_named(energy)
    chosen_propagation = None if propagation is None else propagation_named(propagation)
    check_solver(solver)
    check_variables("input" if variables is None else variables)
    check_seconds(max_seconds)
    for name, switch in (("zoom", zoom), ("mirror", mirror), ("compile", compile), ("cuda_graphs", cuda_graphs)):
        if not isinstance(switch, bool):
            raise OptionError(f"Expected {name} to be True or False, got {switch!r}.")
    if compile and cuda_graphs:
        raise OptionError("Expected compile=True or cuda_graphs=True, got both. Try one of them.")
    check_evaluations(max_evaluations, least=0)
    if fit is not None:
        check_fit(fit)
    given = given_knowledge(**{name: options[name] for name in STATED})
    if mirror and getattr(variables, "name", variables) in ("maps", "kernels"):
        raise OptionError(
            f"Expected mirror=False with variables={variables!r}, got True. Try other variables, or no mirror."
        )
    model = as_module(model)
    replica = replica_of(model)
    known = knowledge_of(unwrapped(model), adapter)
    check_is_of_classes(type(unwrapped(model)).__name__, known, given)
    reads = click_maps or known.click_maps
    check_evaluations(max_evaluations, least=1 if reads is None else 0)
    found = inspected(model, replica, known, given, mirror, lambda own: own if reads is None else of_images(own, reads))
    spec = found.spec
    check_fit(spec.fit, spec.resolution or (max(spec.exact) if spec.exact else None))
    if assumed := assumption(spec, type(unwrapped(model)).__name__):
        warn_user(assumed)
    network = Network(found.replica, spec, stem or known.stem, precision)
    for doubt in (*spec.output.doubts, *(known.doubts if click_maps is None else ()), *network.doubts):
        warn_user(doubt)
    return Interactive(
        model=model,
        network=network,
        runtime=Runtime(network, compile, cuda_graphs),
        variables=variables_named(usual_variables(network) if variables is None else variables, network),
        energy=usual_energy(spec.sides) if chosen_energy is None else chosen_energy,
        solver=solver,
        target=network.target(target),
        max_evaluations=max_evaluations,
        max_seconds=max_seconds,
        zoom=zoom,
        propagation=propagation_for(chosen_propagation, spec.output.classes, network.reads_clicks, spec.sides),
        options=options,
        state=found.state,
        wrap_again=wrap_again,
    )


def wrap_again(model: nn.Module, options: Mapping[str, Any]) -> Interactive:
    """Wrap a model with the options of an earlier wrap: `Interactive.options`."""
    with quietly():
        return wrap(model, **options)
