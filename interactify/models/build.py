"""Builds a network from a line of text: the forms of `--model`.

zoo[@CHECKPOINT]                                 the embedded network that was never shown a click
clicks                                           the embedded network that was trained for clicks
clicks@FOLDER                                    one of yours that was trained for clicks (`interactify train`)
ARCH/ENCODER[,option=value ...][@CHECKPOINT]     an architecture of segmentation_models_pytorch
timm/NAME[,option=value ...][@CHECKPOINT]        a classifier of timm, made dense
torchvision/NAME[,option=value ...][@CHECKPOINT] a segmentation network of torchvision
transformers/FOLDER                              one of transformers, from a folder or the hub
@FOLDER                                          one saved by its `save_pretrained`
package.module:function[@CHECKPOINT]             what the function builds
FILE[@CHECKPOINT]                                an exported program (.pt2), TorchScript, or ONNX
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
from interactify.errors import CheckpointError, ModelError, reason_of
from interactify.learning.click_files import load_click_network, read_click_config
from interactify.models.files import holds_network, read_network
from interactify.models.hubs import FAMILIES, closest
from interactify.zoo import load as load_embedded

FORMS = (
    "zoo, clicks, clicks@FOLDER, ARCH/ENCODER[,option=value][@CHECKPOINT], timm/NAME, torchvision/NAME, "
    "transformers/FOLDER, @FOLDER or package.module:function, or a file: .pt2, TorchScript, .onnx"
)
_EMBEDDED = {"zoo": "saliency", "clicks": "clicks"}
_FUNCTION = re.compile(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*(\.\w+)*")


def quickest_device() -> str:
    """The default device of a network: "cuda" if there is a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def build_model(text: str) -> nn.Module:
    """Build the network that a line of text names.

    Args:
        text: one of

            - ``zoo``: the embedded network that was never shown a click, `zoo.load()`;
            - ``clicks``: the embedded network that was trained for clicks, `zoo.load("clicks")`;
            - ``clicks@FOLDER``: another network that was trained for clicks, as `interactify train` writes it;
            - ``ARCH/ENCODER[,option=value ...][@CHECKPOINT]``, as in ``unet/resnet34@weights.safetensors``: an
              architecture and encoder of `segmentation_models_pytorch`. Options are the architecture's own keyword
              arguments, as in ``fpn/resnet18,classes=21,activation=sigmoid@weights.pt``; `classes` is read from the
              checkpoint if it is not given. The checkpoint is a state dict (``.pt`` and the like, also nested under
              "state_dict" or "model", with or without "module." or "model." before its names), a ``.safetensors``
              file, or a folder written by `save_pretrained`. Without one the weights are random;
            - ``timm/NAME``, ``torchvision/NAME``: a network by its name there, with options and checkpoint as above;
              ``timm/resnet50,pretrained=True`` and ``torchvision/fcn_resnet50,weights=DEFAULT`` fetch weights;
            - ``transformers/FOLDER``: a folder that `save_pretrained` of transformers wrote, or a name on its hub;
            - ``@FOLDER``: a folder written by smp's `save_pretrained`, which names the architecture itself;
            - ``package.module:function``: a function without required arguments that returns an `nn.Module`. Modules
              in the current folder are found;
            - the path of a file that holds a whole network: ``.pt2`` (`torch.export.save`), TorchScript, ``.onnx``.

            ``zoo``, a function and a file take ``@CHECKPOINT`` too: other weights for the same network, as
            `interactify teach` writes them.

    Returns:
        The network, in evaluation mode, on the CPU in the precision it was built in.

    Raises:
        ModelError: a text of no known form; an unknown architecture, encoder or option; a function that is missing,
            needs arguments or returns something else.
        CheckpointError: weights that are missing, unreadable or don't fit.

    >>> type(build_model("torch.nn:Identity")).__name__
    'Identity'
    """
    text = text.strip()
    name, at, checkpoint = text.partition("@")
    if text in _EMBEDDED:
        return load_embedded(_EMBEDDED[text])
    if name == "clicks" and checkpoint:
        return _trained_for_clicks(Path(checkpoint).expanduser())
    if holds_network(text):
        return read_network(Path(text))
    if checkpoint and (name == "zoo" or _FUNCTION.fullmatch(name) or (name and holds_network(name))):
        weights = Path(checkpoint).expanduser()
        return load_into(build_model(name), read_weights(weights), weights)
    family, slash, rest = name.partition("/")
    if slash and family in FAMILIES:
        if not rest or (at and not checkpoint):
            raise ModelError(
                f"Expected {family}/NAME, and a file of weights after the @ if there is one, got {text!r}. "
                f"Try {family}/NAME without the @."
            )
        named, *written = _parts(rest)
        return FAMILIES[family](named, _options(written), Path(checkpoint).expanduser() if at else None)
    if at:
        if not checkpoint:
            raise ModelError(
                f"Expected a file of weights or a folder after the @ of {text!r}, got nothing. Try a path."
            )
        path = Path(checkpoint).expanduser()
        if not name and path.is_file():
            raise ModelError(_unnamed(checkpoint))
        if not name:
            return _from_folder(path)
        return _from_smp(name, path)
    if _FUNCTION.fullmatch(name):
        return _from_function(name)
    if name and Path(name).is_dir():
        raise ModelError(f"Expected a model, got the folder {name!r}. Try '@{name}' if smp's save_pretrained wrote it.")
    if Path(name).is_file():
        raise ModelError(_unnamed(name))
    if "/" in name:
        return _from_smp(name, None)
    guess = closest(name, [*_EMBEDDED, *_architectures()])
    raise ModelError(f"Expected a model as {FORMS}, got {text!r}.{guess}")


def _trained_for_clicks(folder: Path) -> nn.Module:
    """Read a click network; its folder says how the network inside is built."""
    text = read_click_config(folder)["model"]
    if not isinstance(text, str):
        raise CheckpointError(
            f"Expected a folder that says how its network is built, got {folder}, which does not. Try "
            "interactify.learning.load_click_network(model, folder), with the same architecture."
        )
    return load_click_network(build_model(text), folder)


def _from_smp(name: str, path: Path | None) -> nn.Module:
    """Build ARCH/ENCODER with its options, and load what is at `path`."""
    pair, *written = _parts(name)
    architecture, slash, encoder = pair.partition("/")
    if not slash or not encoder:
        raise ModelError(
            f"Expected ARCH/ENCODER before the @ or the options, got {pair!r}. Try a text such as unet/resnet34."
        )
    architectures = _architectures()
    if architecture.lower() not in architectures:
        guess = closest(architecture.lower(), list(architectures))
        raise ModelError(f"Expected an architecture, one of {', '.join(architectures)}, got {architecture!r}.{guess}")
    kind = architectures[architecture.lower()]
    _check_encoder(encoder)
    options = _options(written)
    _check_options(kind, encoder, options)
    if path is None:
        return _build(kind, {"encoder_name": encoder, "encoder_weights": None, **options})
    if path.is_dir():
        if options:
            raise ModelError(
                f"Expected a folder without options, which it holds itself, got {', '.join(written)}. Try leaving them "
                "out, or naming a file in the folder."
            )
        return _from_folder(path, expected=(kind.__name__, encoder))
    weights = read_weights(path)
    classes = class_count(weights)
    if classes is not None:
        options.setdefault("classes", classes)
    # Weights come from the file; fetching others first would be work for nothing.
    return load_into(_build(kind, {"encoder_name": encoder, **options, "encoder_weights": None}), weights, path)


def _from_folder(path: Path, expected: tuple[str, str] | None = None) -> nn.Module:
    """Build the network of a folder's config.json and load the weights beside it, without a request to any hub."""
    config = read_config(path)
    known = {kind.__name__: kind for kind in _architectures().values()}
    kind_name = config.pop("_model_class", None)
    if kind_name not in known:
        raise CheckpointError(
            f"Expected one of smp's architectures in {path}, {', '.join(known)}, got {kind_name!r}. Try a folder "
            "that smp wrote."
        )
    found = (kind_name, str(config.get("encoder_name")))
    if expected is not None and expected != found:
        raise CheckpointError(
            f"Expected {expected[0]} with {expected[1]} in {path}, got {found[0]} with {found[1]}. "
            f"Try '@{path}' for the network of the folder."
        )
    model = _build(known[kind_name], {**config, "encoder_weights": None})
    file = weights_in(path)
    return load_into(model, read_weights(file), file)


def _from_function(name: str) -> nn.Module:
    """Import the module, call the function, and check what it returns."""
    module_name, function_name = name.split(":")
    with _current_folder_importable():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as cause:
            # An import that fails inside the user's module keeps its own traceback.
            if cause.name is None or not f"{module_name}.".startswith(f"{cause.name}."):
                raise
            raise ModelError(
                f"Expected a module {cause.name!r} for {name!r}, got none that is installed or in the current folder. "
                "Try another name."
            ) from cause
        try:
            build = functools.reduce(getattr, function_name.split("."), module)
        except AttributeError as cause:
            names = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
            guess = closest(function_name, names)
            raise ModelError(f"Expected {function_name!r} in {module_name}, got no such name.{guess}") from cause
        model = build if isinstance(build, nn.Module) else _called(build, name)
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"Expected {name} to return a torch.nn.Module, got {type(model).__name__}. Try returning the network."
        )
    return model.eval()


def _called(build: Any, name: str) -> Any:
    if not callable(build):
        raise ModelError(
            f"Expected {name} to be a function that builds a network, got {type(build).__name__}. Try another name."
        )
    try:
        inspect.signature(build).bind()
    except TypeError as cause:
        raise ModelError(
            f"Expected {name} to work without arguments, got: {cause}. Try a function that fills them in."
        ) from cause
    except ValueError:
        pass  # some built-in callables have no signature
    return build()


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Import modules from the current folder, as `python -m` does, while the user's code is imported and run."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # unless that code removed it
            sys.path.remove(folder)


def _architectures() -> dict[str, Callable[..., nn.Module]]:
    try:
        import segmentation_models_pytorch as smp  # here: it takes a second, which other forms need not wait
    except ImportError as cause:
        raise ModelError(
            "Expected the package segmentation-models-pytorch for ARCH/ENCODER, got none. Try installing it."
        ) from cause
    return dict(smp.MODEL_ARCHITECTURES_MAPPING)


def _parts(name: str) -> list[str]:
    """A name and its options. A comma inside brackets belongs to a value: decoder_channels=(64,32,16)."""
    return re.split(r",(?![^(\[{]*[)\]}])", name)


def _check_encoder(encoder: str) -> None:
    from segmentation_models_pytorch.encoders import get_encoder_names  # here, as in _architectures

    if encoder.startswith("tu-"):
        import timm  # here: smp has imported it by now

        if timm.is_model(encoder[3:]):
            return
        known = [f"tu-{name}" for name in timm.list_models()]
    else:
        known = list(get_encoder_names())
        # smp renames the deprecated timm- encoders by itself.
        if encoder in known or encoder.startswith("timm-"):
            return
    guess = closest(encoder, known)
    raise ModelError(f"Expected an encoder of smp, or tu-NAME for one of timm, got {encoder!r}.{guess}")


def _options(written: Sequence[str]) -> dict[str, Any]:
    """Read option=value pairs; a value is a Python literal if it can be read as one, else text."""
    options: dict[str, Any] = {}
    for pair in written:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not key.isidentifier() or not value:
            raise ModelError(f"Expected an option as name=value, got {pair!r}. Try an option such as classes=21.")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options


def _check_options(kind: Callable[..., nn.Module], encoder: str, options: dict[str, Any]) -> None:
    """Refuse misspelt options, which smp silently drops. Encoders of timm take further options, so none is refused."""
    if encoder.startswith("tu-"):
        return
    known = [name for name in inspect.signature(kind).parameters if name not in ("kwargs", "encoder_name")]
    for key in options:
        if key not in known:
            guess = closest(key, known)
            raise ModelError(f"Expected an option of {kind.__name__}, one of {', '.join(known)}, got {key!r}.{guess}")


def _build(kind: Callable[..., nn.Module], options: dict[str, Any]) -> nn.Module:
    try:
        return kind(**options).eval()
    except Exception as cause:  # architecture, encoder and timm raise errors of their own
        named = f"{kind.__name__} with {options.get('encoder_name')}"
        raise ModelError(f"Expected options that build {named}, got {reason_of(cause)}. Try other options.") from cause


def _unnamed(file: str) -> str:
    return (
        f"Expected a network and its weights, got {file!r}, a file that does not name its network. Try writing "
        f"ARCH/ENCODER before it, as in 'unet/resnet34@{file}'."
    )
