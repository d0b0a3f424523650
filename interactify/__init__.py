"""Any segmentation network that you already have answers to clicks, without training.

net = interactify.wrap(model)
session = net.session(photo)
result = session.click(x=120, y=80)

Names are loaded at their first use (PEP 562), so that `interactify --help` starts without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from interactify._version import __version__

if TYPE_CHECKING:  # type checkers don't follow __getattr__, and see the names here
    from interactify import (
        adapters,
        brs,
        draw,
        errors,
        evaluation,
        export,
        models,
        optim,
        predictor,
        session,
        slices,
        training,
        values,
        volumes,
        zoo,
    )
    from interactify.errors import (
        AdapterError,
        CheckpointError,
        ClosedSessionError,
        InteractifyError,
        InteractifyWarning,
        InteractionError,
        ModelChangedError,
        ModelError,
        NonFiniteError,
        NoPhotoError,
        NotEnoughMemoryError,
        OptionError,
        PhotoError,
    )
    from interactify.evaluation import evaluate
    from interactify.inspection.spec import Knowledge
    from interactify.interactions import (
        Box,
        Click,
        ClickMaps,
        Interaction,
        Labels,
        Lasso,
        Mask,
        Paint,
        Scribble,
        VoxelBox,
        VoxelClick,
        VoxelLasso,
        VoxelMask,
        VoxelScribble,
        interaction_from_json,
        interaction_maps,
    )
    from interactify.interactive import Interactive, wrap
    from interactify.pictures.picture import Picture, open_picture
    from interactify.pictures.window import Window
    from interactify.predictor import Predictor
    from interactify.refinement.result import Result, Unsatisfied
    from interactify.runtime.cache import cache_limit, cached_bytes, set_cache_limit
    from interactify.session import Session, replay
    from interactify.slices import SliceSession, SlicesResult, load_slices
    from interactify.stem import ReconfiguredStem, reconfigure_stem
    from interactify.values import (
        HigherValue,
        SameValue,
        ValueClick,
        ValueNetwork,
        ValueResult,
        ValueScribble,
        ValueSession,
        wrap_values,
    )
    from interactify.volumes import Volume, VolumeSession, load_session, open_volume, read_volume

_NAMES = {
    "errors": (
        "AdapterError",
        "CheckpointError",
        "ClosedSessionError",
        "InteractifyError",
        "InteractifyWarning",
        "InteractionError",
        "ModelChangedError",
        "ModelError",
        "NoPhotoError",
        "NonFiniteError",
        "NotEnoughMemoryError",
        "OptionError",
        "PhotoError",
    ),
    "evaluation": ("evaluate",),
    "inspection.spec": ("Knowledge",),
    "interactions": (
        "Box",
        "Click",
        "ClickMaps",
        "Interaction",
        "Labels",
        "Lasso",
        "Mask",
        "Paint",
        "Scribble",
        "VoxelBox",
        "VoxelClick",
        "VoxelLasso",
        "VoxelMask",
        "VoxelScribble",
        "interaction_from_json",
        "interaction_maps",
    ),
    "interactive": ("Interactive", "wrap"),
    "pictures.picture": ("Picture", "open_picture"),
    "pictures.window": ("Window",),
    "predictor": ("Predictor",),
    "refinement.result": ("Result", "Unsatisfied"),
    "runtime.cache": ("cache_limit", "cached_bytes", "set_cache_limit"),
    "session": ("Session", "replay"),
    "slices": ("SliceSession", "SlicesResult", "load_slices"),
    "stem": ("ReconfiguredStem", "reconfigure_stem"),
    "values": (
        *("HigherValue", "SameValue", "ValueClick", "ValueNetwork", "ValueResult", "ValueScribble", "ValueSession"),
        "wrap_values",
    ),
    "volumes": ("Volume", "VolumeSession", "load_session", "open_volume", "read_volume"),
}
_MODULES = (
    *("adapters", "brs", "draw", "errors", "evaluation", "export", "models", "optim", "predictor", "propagation"),
    *("session", "slices", "training", "values", "volumes", "zoo"),
    "energy",  # an old name, which warns
)
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "AdapterError",
    "Box",
    "CheckpointError",
    "Click",
    "ClickMaps",
    "ClosedSessionError",
    "HigherValue",
    "InteractifyError",
    "InteractifyWarning",
    "Interaction",
    "InteractionError",
    "Interactive",
    "Knowledge",
    "Labels",
    "Lasso",
    "Mask",
    "ModelChangedError",
    "ModelError",
    "NoPhotoError",
    "NonFiniteError",
    "NotEnoughMemoryError",
    "OptionError",
    "Paint",
    "Picture",
    "PhotoError",
    "Predictor",
    "ReconfiguredStem",
    "Result",
    "SameValue",
    "Scribble",
    "Session",
    "SliceSession",
    "SlicesResult",
    "Unsatisfied",
    "ValueClick",
    "ValueNetwork",
    "ValueResult",
    "ValueScribble",
    "ValueSession",
    "Volume",
    "VolumeSession",
    "VoxelBox",
    "VoxelClick",
    "VoxelLasso",
    "VoxelMask",
    "VoxelScribble",
    "Window",
    "__version__",
    "adapters",
    "brs",
    "cache_limit",
    "cached_bytes",
    "draw",
    "errors",
    "evaluate",
    "evaluation",
    "export",
    "interaction_from_json",
    "interaction_maps",
    "load_session",
    "load_slices",
    "models",
    "open_picture",
    "open_volume",
    "read_volume",
    "optim",
    "predictor",
    "reconfigure_stem",
    "replay",
    "session",
    "set_cache_limit",
    "slices",
    "training",
    "values",
    "volumes",
    "wrap",
    "wrap_values",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        found = getattr(import_module(f"interactify.{_MODULE_OF[name]}"), name)
    elif name in _MODULES:
        found = import_module(f"interactify.{name}")
    else:
        raise AttributeError(f"module 'interactify' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
