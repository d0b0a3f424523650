"""Networks that `--model` names by their package: timm/NAME, torchvision/NAME, transformers/FOLDER."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from interactify.checkpoints import load_into, read_weights
from interactify.errors import CheckpointError, ModelError, extra, reason_of

Options = dict[str, Any]


def from_timm(name: str, options: Options, checkpoint: Path | None) -> nn.Module:
    """A network of timm by name; `pretrained=True` downloads its weights from the hub, or takes them from its cache."""
    import timm  # here and below: hubs are heavy, and most models need none of them

    if not timm.is_model(name):
        raise ModelError(f"Expected a network of timm, got {name!r}.{closest(name, timm.list_models())}")
    weights = None
    if checkpoint is not None:
        weights = read_weights(checkpoint)
        stated = timm.get_pretrained_cfg(name, allow_unregistered=True)
        named = stated.classifier if stated is not None else None
        for head in (named,) if isinstance(named, str) else tuple(named or ()):
            for key, tensor in weights.items():
                if key == f"{head}.weight" or key.endswith(f".{head}.weight"):
                    options.setdefault("num_classes", tensor.shape[0])
    model = _built(lambda: timm.create_model(name, **{"pretrained": False, **options}), f"timm's {name}")
    return model if weights is None or checkpoint is None else load_into(model, weights, checkpoint)


def from_torchvision(name: str, options: Options, checkpoint: Path | None) -> nn.Module:
    """A segmentation network of torchvision; `weights=DEFAULT` downloads its weights, or takes them from the cache."""
    from torchvision.models import get_model, list_models, segmentation

    known = list_models(module=segmentation)
    if name not in known:
        raise ModelError(
            f"Expected a segmentation network of torchvision, got {name!r}. Try one of {', '.join(known)}."
        )
    known = ("weights", "weights_backbone", "num_classes", "aux_loss", "progress")
    for option in options:  # torchvision silently drops unknown options
        if option not in known:
            raise ModelError(
                f"Expected an option of {name}, one of {', '.join(known)}, got {option!r}.{closest(option, known)}"
            )
    weights = None
    if checkpoint is not None:  # its auxiliary head is for training only
        weights = {key: value for key, value in read_weights(checkpoint).items() if "aux_classifier." not in key}
        head = [key for key in weights if key.endswith("weight") and weights[key].ndim == 4 and "classifier" in key]
        if head:
            options.setdefault("num_classes", weights[head[-1]].shape[0])
    options = {"weights": None, "weights_backbone": None, **options}
    model = _built(lambda: get_model(name, **options), f"torchvision's {name}")
    return model if weights is None or checkpoint is None else load_into(model, weights, checkpoint)


def from_transformers(name: str, options: Options, checkpoint: Path | None) -> nn.Module:
    """A segmentation network of transformers, from a folder that `save_pretrained` wrote, or by its name on the hub."""
    if checkpoint is not None:
        raise ModelError(
            f"Expected a network of transformers without a checkpoint, since it has its weights, got {checkpoint}. "
            f"Try transformers/{checkpoint}."
        )
    try:
        import transformers
    except ImportError as cause:
        raise ModelError(
            f"Expected the package transformers for transformers/…, got none. Try {extra('transformers')}."
        ) from cause
    kinds = ("AutoModelForSemanticSegmentation", "AutoModelForUniversalSegmentation")
    failures = []
    for kind in kinds:
        try:
            model: nn.Module = getattr(transformers, kind).from_pretrained(name, **options)
            return model.eval()
        except Exception as cause:  # the hub, the files and the configuration raise errors of their own
            failures.append(f"{kind}: {str(cause).strip().splitlines()[0][:200]}")
    raise CheckpointError(
        f"Expected a segmentation network of transformers, got {name!r}, which does not load. {' '.join(failures)} "
        "Try a folder that save_pretrained wrote."
    )


FAMILIES: dict[str, Callable[[str, Options, Path | None], nn.Module]] = {
    "timm": from_timm,
    "torchvision": from_torchvision,
    "transformers": from_transformers,
}


def closest(word: str, known: Sequence[str]) -> str:
    """The likely spelling, as the end of an error message; empty if no known word is close."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _built(build: Callable[[], nn.Module], called: str) -> nn.Module:
    try:
        return build().eval()
    except Exception as cause:  # each package raises errors of its own
        raise ModelError(f"Expected options that build {called}, got {reason_of(cause)}. Try other options.") from cause
