"""Any segmentation network a person already has answers to clicks, without training.

net = interactify.wrap(model)
session = net.session(photo)
result = session.click(x=120, y=80)
"""

from interactify import brs, energy, errors, evaluation, optim, zoo
from interactify.errors import (
    AdapterError,
    CheckpointError,
    InteractifyError,
    InteractionError,
    ModelError,
    NonFiniteError,
    NoPhotoError,
    NotEnoughMemoryError,
    OptionError,
    PhotoError,
)
from interactify.evaluation import evaluate
from interactify.gestures import Box, Lasso, Mask, Paint, Scribble, interaction_from_json
from interactify.interactions import Click, Interaction
from interactify.maps import interaction_maps
from interactify.picture import Picture, open_picture
from interactify.predictor import Predictor
from interactify.result import Result, Unsatisfied
from interactify.session import Session
from interactify.session_file import load_session
from interactify.session_log import replay
from interactify.spec import Knowledge
from interactify.stem import ReconfiguredStem, reconfigure_stem
from interactify.window import Window
from interactify.wrap import Interactive, wrap

__version__ = "0.1.0"

__all__ = [
    "AdapterError",
    "Box",
    "CheckpointError",
    "Click",
    "InteractifyError",
    "Interaction",
    "InteractionError",
    "Interactive",
    "Knowledge",
    "Lasso",
    "Mask",
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
    "Scribble",
    "Session",
    "Unsatisfied",
    "Window",
    "brs",
    "energy",
    "errors",
    "evaluate",
    "evaluation",
    "interaction_from_json",
    "interaction_maps",
    "load_session",
    "open_picture",
    "optim",
    "reconfigure_stem",
    "replay",
    "wrap",
    "zoo",
]
