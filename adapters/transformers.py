"""Hugging Face transformers: what configurations and image processors state, read from local files only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from interactify.adapters.generic import is_from, stated
from interactify.adapters.number_maps import output_of_numbers, with_numbers
from interactify.adapters.queries import queries_of, semantic
from interactify.inspection.spec import Knowledge

_FILES = ("preprocessor_config.json", "processor_config.json")
_SETTINGS = (
    *("do_normalize", "image_mean", "image_std", "do_rescale", "rescale_factor", "do_flip_channel_order"),
    *("do_resize", "size", "do_center_crop", "crop_size"),
)

# Insertion points by config.model_type: deepest encoder map, middle of the decode head, input of the classifier. Where
# versions of transformers differ, the first name that exists. A search by size alone would find auxiliary heads, whose
# maps no logit depends on.
_UPER = {"A": ("backbone", "fpn", "fpn4"), "B": ("decode_head.fpn_convs.1",), "C": ("decode_head.fpn_bottleneck",)}
_PIXELS = "model.pixel_level_module"
_MASKED = {
    "A": (f"{_PIXELS}.encoder",),
    "B": (f"{_PIXELS}.decoder.layer_1", f"{_PIXELS}.decoder.fpn.layers.1"),
    "C": (f"{_PIXELS}.decoder.mask_projection",),
}
_EOMT = {
    "A": ("embeddings.patch_embeddings.projection", "embeddings.patch_embeddings"),
    "B": ("upscale_block.block.0",),
    "C": ("upscale_block",),
}
_POINTS: dict[str, dict[str, tuple[str, ...]]] = {
    "segformer": {"A": ("segformer",), "B": ("decode_head.linear_fuse",), "C": ("decode_head.dropout",)},
    "mobilevit": {"A": ("mobilevit",), "C": ("segmentation_head.dropout",)},
    "mobilevitv2": {"A": ("mobilevitv2",), "C": ("segmentation_head.dropout",)},
    "mobilenet_v2": {
        "A": ("mobilenet_v2",),
        "B": ("segmentation_head.conv_aspp",),
        "C": ("segmentation_head.dropout",),
    },
    "upernet": _UPER,
    "beit": _UPER,
    "data2vec-vision": _UPER,
    "dpt": {"A": ("neck.convs.3",), "B": ("neck.fusion_stage.layers.2",), "C": ("head.head.3",)},
    "maskformer": _MASKED,
    "mask2former": _MASKED,
    "oneformer": _MASKED,
    "eomt": _EOMT,
    "eomt_dinov3": _EOMT,
    **{
        kind: {
            "A": (f"{kind}.model.input_projection",),
            "B": ("mask_head.fpn_stages.1",),
            "C": ("mask_head.fpn_stages.2",),
        }
        for kind in ("detr", "conditional_detr")
    },
}


class Transformers:
    """The models of transformers, and classes that inherit from them."""

    name = "transformers"

    def recognises(self, model: nn.Module) -> bool:
        return is_from(model, "transformers")

    def knows(self, model: nn.Module) -> Knowledge:
        config = getattr(model, "config", None)
        kind = getattr(config, "model_type", None)
        if not isinstance(kind, str):
            return stated(model)
        processing = _processing(config)
        queries = queries_of(model)
        modules = dict(nn.Module.named_modules(model))
        points = {
            letter: next((name for name in names if name in modules), None)
            for letter, names in _POINTS.get(kind, {}).items()
        }
        known = Knowledge(
            family=f"transformers, {kind}",
            forward=None if queries is None else semantic(queries),
            output=None if queries is None else "semantic",
            activation=None if queries is None else "none",
            class_names=_class_names(config),
            points={letter: name for letter, name in points.items() if name is not None},
            divisor=_divisor(config),
            **processing,
        )
        output = output_of_numbers(model)
        return known if output is None else with_numbers(known, model, output)


# ---- the image processor ---------------------------------------------------------------------------------------------


def _processing(config: Any) -> dict[str, Any]:
    """Normalisation, order of colours and size, from the checkpoint's own file, else the family's image processor."""
    name, default = _default_settings(config)
    stored, file = _stored_settings(config)
    settings = {**default, **stored}
    only = _one_size(config)
    sizes = {
        "resolution": only or _longest(stored) or _image_size(config) or _longest(default),
        "fixed": bool(only) or None,
    }
    if not settings:
        return sizes
    mean, std = _mean_and_std(settings)
    if file:
        source = f"{file} of the checkpoint"
    else:
        source = f"the default of {name}, assumed: give mean=, std= if yours differ"
    return {
        "mean": mean,
        "std": std,
        "normalisation": source if mean is not None else "",
        "whole": bool(file),
        "bgr": bool(settings.get("do_flip_channel_order")) or None,
        **sizes,
    }


def _stored_settings(config: Any) -> tuple[dict[str, Any], str]:
    """The settings in the file beside the weights, and its name; nothing if there is no local file."""
    for file in _FILES:
        path = _local(config, file)
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8")) if path else None
        except (OSError, ValueError):
            content = None
        content = content.get("image_processor", content) if isinstance(content, dict) else None
        if isinstance(content, dict):
            settings = {name: content[name] for name in _SETTINGS if content.get(name) is not None}
            if settings:
                return settings, file
    return {}, ""


def _local(config: Any, file: str) -> str | None:
    """The file beside the weights, in their folder or in the hub's cache. Sends no request."""
    folder = getattr(config, "_name_or_path", None)
    if not isinstance(folder, str) or not folder:
        return None
    if Path(folder).is_dir():
        return str(Path(folder, file))
    try:
        from huggingface_hub import try_to_load_from_cache  # here: an optional package

        found = try_to_load_from_cache(folder, file, revision=getattr(config, "_commit_hash", None))
    except (ImportError, ValueError):  # not the name of a repository
        return None
    return found if isinstance(found, str) else None


def _default_settings(config: Any) -> tuple[str, dict[str, Any]]:
    """The name of the family's image processor, and its default settings."""
    try:  # here: an optional package, loaded already if the model is of it
        from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
    except ImportError:
        return "", {}
    kinds: list[Any] = []
    for base in type(config).__mro__:
        if base in IMAGE_PROCESSOR_MAPPING:
            found = IMAGE_PROCESSOR_MAPPING[base]
            kinds = [kind for kind in (found.values() if isinstance(found, Mapping) else found) if kind is not None]
            break
    for kind in kinds:
        if getattr(kind, "image_mean", None) is not None:
            return kind.__name__.removesuffix("Pil").removesuffix("Fast"), _set(kind)
    for kind in kinds:  # older ones set them in __init__, which is quick; OneFormer's would send a request
        taken = kind.__init__.__code__.co_varnames
        if "image_mean" in taken and "repo_path" not in taken:
            return kind.__name__, _set(kind())
    return "", {}


def _set(holder: Any) -> dict[str, Any]:
    return {name: getattr(holder, name) for name in _SETTINGS if getattr(holder, name, None) is not None}


def _mean_and_std(settings: Mapping[str, Any]) -> tuple[Any, Any]:
    """For images in [0, 1]; None if they are unknown.

    The processor scales pixels x in [0, 1] to s·x and normalises to (s·x − m) / d, which is (x − m / s) / (d / s).
    """
    scale = 255.0
    if settings.get("do_rescale", True):
        scale *= float(settings.get("rescale_factor", 1 / 255))
    if not settings.get("do_normalize"):
        return 0.0, 1 / scale
    mean, std = settings.get("image_mean"), settings.get("image_std")
    if mean is None or std is None:
        return None, None
    return _divided(mean, scale), _divided(std, scale)


def _divided(values: Any, by: float) -> Any:
    return tuple(float(v) / by for v in values) if isinstance(values, Iterable) else float(values) / by


def _longest(settings: Mapping[str, Any]) -> int | None:
    """The longest side of a photo after the processor, in pixels; for 4:3 if it only sets the shorter side."""
    size = settings.get("crop_size") if settings.get("do_center_crop") else None
    size = size or (settings.get("size") if settings.get("do_resize", True) else None)
    if isinstance(size, int):
        return size
    if not isinstance(size, Mapping):
        return None
    sides = {name: side for name, side in size.items() if isinstance(side, int) and side > 0}
    if "shortest_edge" in sides:
        longest = round(sides["shortest_edge"] * 4 / 3)
        return min(longest, sides.get("longest_edge", longest))
    return max(sides.values(), default=None)


# ---- the configuration -----------------------------------------------------------------------------------------------


def _image_size(config: Any) -> int | None:
    size = getattr(config, "image_size", None)
    sides = [side for side in (size if isinstance(size, (list, tuple)) else [size]) if isinstance(side, int)]
    return max(sides, default=None)


def _one_size(config: Any) -> int | None:
    """The only size of a network whose position embeddings fix it; images are cropped or padded to it."""
    kind, backbone = config.model_type, getattr(config, "backbone_config", None)
    if kind in ("eomt", "eomt_dinov3", "data2vec-vision") or (kind == "dpt" and getattr(config, "is_hybrid", False)):
        return _image_size(config)
    return _image_size(backbone) if getattr(backbone, "model_type", None) == "hiera" else None


def _divisor(config: Any) -> int | None:
    """The patch size if it does not divide 32, and the patch size of DPT, which takes squares."""
    if config.model_type == "dpt" and isinstance(getattr(config, "patch_size", None), int):
        return config.patch_size
    for part in (config, getattr(config, "backbone_config", None)):
        patch = getattr(part, "patch_size", None)
        if isinstance(patch, int) and patch > 1 and 32 % patch:
            return patch
    return None


def _class_names(config: Any) -> tuple[str, ...]:
    """`id2label` in order, unless its names are only numbers: LABEL_0, LABEL_1, …."""
    labels = getattr(config, "id2label", None) or {}
    names = tuple(str(name) for _, name in sorted(labels.items()))
    return () if all(re.fullmatch(r"LABEL_\d+", name) for name in names) else names
