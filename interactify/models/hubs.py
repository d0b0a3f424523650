"""Networks that `--model` names by their package: timm/NAME, torchvision/NAME, transformers/FOLDER."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from interactify.checkpoints import load_into, read_weights
from interactify.errors import CheckpointError, ModelError

Options = dict[str, Any]


def from_timm(name: str, options: Options, checkpoint: Path | None) -> nn.Module:
    """A network of timm by name; `pretrained=True` fetches its weights from the hub, or takes them from its cache."""
    import timm

    if not timm.is_model(name):
        raise ModelError(f"timm has no network {name!r}.{closest(name, timm.list_models())}")
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
    """A segmentation network of torchvision; `weights=DEFAULT` fetches its weights, or takes them from the cache."""
    from torchvision.models import get_model, list_models, segmentation

    known = list_models(module=segmentation)
    if name not in known:
        raise ModelError(f"torchvision has no segmentation network {name!r}. There are: {', '.join(known)}.")
    known = ("weights", "weights_backbone", "num_classes", "aux_loss", "progress")
    for option in options:  # torchvision drops what it does not know
        if option not in known:
            raise ModelError(f"{name} has no option {option!r}.{closest(option, known)} There are: {', '.join(known)}.")
    weights = None
    if checkpoint is not None:  # its auxiliary head serves training alone
        weights = {key: value for key, value in read_weights(checkpoint).items() if "aux_classifier." not in key}
        head = [key for key in weights if key.endswith("weight") and weights[key].ndim == 4 and "classifier" in key]
        if head:
            options.setdefault("num_classes", weights[head[-1]].shape[0])
    options = {"weights": None, "weights_backbone": None, **options}
    model = _built(lambda: get_model(name, **options), f"torchvision's {name}")
    return model if weights is None or checkpoint is None else load_into(model, weights, checkpoint)


def from_transformers(name: str, options: Options, checkpoint: Path | None) -> nn.Module:
    """A segmentation network of transformers, from a folder that `save_pretrained` wrote or by its name on the hub."""
    if checkpoint is not None:
        raise ModelError(f"A network of transformers brings its own weights: write transformers/{checkpoint} instead.")
    try:
        import transformers
    except ImportError as cause:
        raise ModelError("transformers/… needs transformers: pip install 'interactify[transformers]'.") from cause
    kinds = ("AutoModelForSemanticSegmentation", "AutoModelForUniversalSegmentation")
    failures = []
    for kind in kinds:
        try:
            model: nn.Module = getattr(transformers, kind).from_pretrained(name, **options)
            return model.eval()
        except Exception as cause:  # the hub, the files and the configuration each raise their own
            failures.append(f"{kind}: {str(cause).strip().splitlines()[0][:200]}")
    raise CheckpointError(f"Can't load {name!r} as a segmentation network of transformers. {' '.join(failures)}")


FAMILIES: dict[str, Callable[[str, Options, Path | None], nn.Module]] = {
    "timm": from_timm,
    "torchvision": from_torchvision,
    "transformers": from_transformers,
}


def closest(word: str, known: Sequence[str]) -> str:
    """What may have been meant, as the end of an error; empty where nothing is near."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _built(build: Callable[[], nn.Module], called: str) -> nn.Module:
    try:
        return build().eval()
    except Exception as cause:  # each package decides what it raises
        raise ModelError(f"Can't build {called} ({type(cause).__name__}: {cause}). Try other options.") from cause
