"""From a line of text to a network: what `--model` understands.

zoo                                              the embedded network
ARCH/ENCODER[,option=value ...][@CHECKPOINT]     an architecture of segmentation_models_pytorch
timm/NAME[,option=value ...][@CHECKPOINT]        a classifier of timm, made dense
torchvision/NAME[,option=value ...][@CHECKPOINT] a segmentation network of torchvision
transformers/FOLDER                              one of transformers, from a folder or the hub
@FOLDER                                          one saved by its `save_pretrained`
package.module:function                          whatever the function builds
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from interactify.checkpoints import class_count, load_into, read_config, read_weights, weights_in
from interactify.errors import CheckpointError, ModelError
from interactify.models.hubs import FAMILIES, closest

FORMS = (
    "zoo, ARCH/ENCODER[,option=value][@CHECKPOINT], timm/NAME, torchvision/NAME, transformers/FOLDER, @FOLDER or "
    "package.module:function"
)


def quickest_device() -> str:
    """Where a network is to run that nobody has said it of: "cuda" where there is a GPU for it, "cpu" elsewhere."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def build_model(text: str) -> nn.Module:
    """Build the network that a line of text names.

    Args:
        text: one of

            - ``zoo``: the embedded network;
            - ``ARCH/ENCODER[,option=value ...][@CHECKPOINT]``, as in ``unet/resnet34@weights.safetensors``: an
              architecture and encoder of `segmentation_models_pytorch`. Options are the architecture's own keyword
              arguments, as in ``fpn/resnet18,classes=21,activation=sigmoid@weights.pt``; `classes` is read from the
              checkpoint where it isn't given. The checkpoint is a state dict (``.pt`` and the like, also nested under
              "state_dict" or "model", with or without "module." or "model." before its names), a ``.safetensors``
              file, or a folder written by `save_pretrained`. Without one the weights are random;
            - ``timm/NAME``, ``torchvision/NAME``: a network by its name there, with options and checkpoint as above;
              ``timm/resnet50,pretrained=True`` and ``torchvision/fcn_resnet50,weights=DEFAULT`` fetch weights;
            - ``transformers/FOLDER``: what `save_pretrained` of transformers wrote, or a name on its hub;
            - ``@FOLDER``: a folder written by smp's `save_pretrained`, which itself says what architecture it holds;
            - ``package.module:function``: a function without required arguments that returns an `nn.Module`. Modules
              in the current folder are found.

    Returns:
        The network, in evaluation mode, on the CPU in the precision it was built in.

    Raises:
        ModelError: for a text of no known form, an unknown architecture, encoder or option, and a function that isn't
            there, needs arguments or returns something else.
        CheckpointError: for weights that are missing, unreadable or don't fit.

    >>> type(build_model("torch.nn:Identity")).__name__
    'Identity'
    """
    text = text.strip()
    name, at, checkpoint = text.partition("@")
    if text == "zoo":
        from interactify import zoo

        return zoo.load()
    family, slash, rest = name.partition("/")
    if slash and family in FAMILIES:
        if not rest or (at and not checkpoint):
            raise ModelError(
                f"Expected {family}/NAME, and a file of weights after the @ if there is one; got {text!r}."
            )
        named, *written = _parts(rest)
        return FAMILIES[family](named, _options(written), Path(checkpoint).expanduser() if at else None)
    if at:
        if not checkpoint:
            raise ModelError(f"Expected a file of weights or a folder after the @ of {text!r}, got nothing.")
        path = Path(checkpoint).expanduser()
        if not name and path.is_file():
            raise ModelError(f"{checkpoint!r} is a file and does not say what network it is for. {_hint(checkpoint)}")
        if not name:
            return _from_folder(path)
        return _from_smp(name, path)
    if re.fullmatch(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*(\.\w+)*", name):
        return _from_function(name)
    if name and Path(name).is_dir():
        raise ModelError(f"{name!r} is a folder. If it was saved by smp's save_pretrained, write '@{name}'.")
    if Path(name).is_file():
        raise ModelError(f"{name!r} is a file and does not say what network it is for. {_hint(name)}")
    if "/" in name:
        return _from_smp(name, None)
    guess = closest(name, ["zoo", *_architectures()])
    raise ModelError(f"Expected a model as {FORMS}; got {text!r}.{guess}")


def _from_smp(name: str, path: Path | None) -> nn.Module:
    """Build ARCH/ENCODER with its options, and load what is at `path`."""
    pair, *written = _parts(name)
    architecture, slash, encoder = pair.partition("/")
    if not slash or not encoder:
        raise ModelError(f"Expected ARCH/ENCODER, such as unet/resnet34, before the @ or the options; got {pair!r}.")
    architectures = _architectures()
    if architecture.lower() not in architectures:
        guess = closest(architecture.lower(), list(architectures))
        raise ModelError(f"Unknown architecture {architecture!r}.{guess} There are: {', '.join(architectures)}.")
    kind = architectures[architecture.lower()]
    _check_encoder(encoder)
    options = _options(written)
    _check_options(kind, encoder, options)
    if path is None:
        return _build(kind, {"encoder_name": encoder, "encoder_weights": None, **options})
    if path.is_dir():
        if options:
            raise ModelError(f"A folder holds its own options: leave out {', '.join(written)}, or name a file in it.")
        return _from_folder(path, expected=(kind.__name__, encoder))
    weights = read_weights(path)
    classes = class_count(weights)
    if classes is not None:
        options.setdefault("classes", classes)
    # Weights come from the file; fetching others first would be work for nothing.
    return load_into(_build(kind, {"encoder_name": encoder, **options, "encoder_weights": None}), weights, path)


def _from_folder(path: Path, expected: tuple[str, str] | None = None) -> nn.Module:
    """Build what a folder's config.json says and load the weights beside it, without asking any hub."""
    config = read_config(path)
    known = {kind.__name__: kind for kind in _architectures().values()}
    kind_name = config.pop("_model_class", None)
    if kind_name not in known:
        raise CheckpointError(f"{path} holds a {kind_name!r}, none of smp's architectures: {', '.join(known)}.")
    found = (kind_name, str(config.get("encoder_name")))
    if expected is not None and expected != found:
        raise CheckpointError(
            f"{path} holds {found[0]} with {found[1]}, not {expected[0]} with {expected[1]}. "
            f"Write '@{path}' to take what it holds."
        )
    model = _build(known[kind_name], {**config, "encoder_weights": None})
    file = weights_in(path)
    return load_into(model, read_weights(file), file)


def _from_function(name: str) -> nn.Module:
    """Import the module, call the function, and look at what it returned."""
    module_name, function_name = name.split(":")
    with _current_folder_importable():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as cause:
            # A module missing *inside* the user's own is their traceback to read.
            if cause.name is None or not f"{module_name}.".startswith(f"{cause.name}."):
                raise
            raise ModelError(
                f"No module named {cause.name!r} in the current folder or among what is installed; {name!r} needs it."
            ) from cause
        try:
            build = functools.reduce(getattr, function_name.split("."), module)
        except AttributeError as cause:
            names = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
            guess = closest(function_name, names)
            raise ModelError(f"{module_name} has no {function_name!r}.{guess}") from cause
        model = build if isinstance(build, nn.Module) else _called(build, name)
    if not isinstance(model, nn.Module):
        raise ModelError(f"Expected {name} to return a torch.nn.Module, got {type(model).__name__}.")
    return model.eval()


def _called(build: Any, name: str) -> Any:
    if not callable(build):
        raise ModelError(f"Expected {name} to be a function that builds a network, got {type(build).__name__}.")
    try:
        inspect.signature(build).bind()
    except TypeError as cause:
        raise ModelError(f"Expected {name} to work without arguments: {cause}.") from cause
    except ValueError:
        pass  # some built-in callables have no signature to ask
    return build()


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """What `python -m` does, for as long as the user's code is imported and run."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # unless that code took it away itself
            sys.path.remove(folder)


def _architectures() -> dict[str, Callable[..., nn.Module]]:
    try:
        import segmentation_models_pytorch as smp
    except ImportError as cause:
        raise ModelError("ARCH/ENCODER needs the package segmentation-models-pytorch: install it first.") from cause
    return dict(smp.MODEL_ARCHITECTURES_MAPPING)


def _parts(name: str) -> list[str]:
    """A name and its options. A comma inside brackets belongs to a value: decoder_channels=(64,32,16)."""
    return re.split(r",(?![^(\[{]*[)\]}])", name)


def _check_encoder(encoder: str) -> None:
    from segmentation_models_pytorch.encoders import get_encoder_names

    if encoder.startswith("tu-"):
        import timm

        if timm.is_model(encoder[3:]):
            return
        known = [f"tu-{name}" for name in timm.list_models()]
    else:
        known = list(get_encoder_names())
        # smp renames the deprecated timm- encoders by itself.
        if encoder in known or encoder.startswith("timm-"):
            return
    guess = closest(encoder, known)
    raise ModelError(f"Unknown encoder {encoder!r}.{guess} Encoders of timm are written as tu-NAME.")


def _options(written: Sequence[str]) -> dict[str, Any]:
    """Read option=value pairs; a value is a Python literal where it reads as one, else text."""
    options: dict[str, Any] = {}
    for pair in written:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not key.isidentifier() or not value:
            raise ModelError(f"Expected an option as name=value, such as classes=21; got {pair!r}.")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options


def _check_options(kind: Callable[..., nn.Module], encoder: str, options: dict[str, Any]) -> None:
    """Refuse misspelt options here, since smp drops what it doesn't know; timm's encoders take some of their own."""
    if encoder.startswith("tu-"):
        return
    known = [name for name in inspect.signature(kind).parameters if name not in ("kwargs", "encoder_name")]
    for key in options:
        if key not in known:
            guess = closest(key, known)
            raise ModelError(f"{kind.__name__} has no option {key!r}.{guess} There are: {', '.join(known)}.")


def _build(kind: Callable[..., nn.Module], options: dict[str, Any]) -> nn.Module:
    try:
        return kind(**options).eval()
    except Exception as cause:  # architecture, encoder and timm decide what they raise
        named = f"{kind.__name__} with {options.get('encoder_name')}"
        raise ModelError(f"Can't build {named} ({type(cause).__name__}: {cause}). Try other options.") from cause


def _hint(file: str) -> str:
    return f"Write ARCH/ENCODER before it, as in 'unet/resnet34@{file}'."
