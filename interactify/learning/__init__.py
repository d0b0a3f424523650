"""What moves a network's weights: photos with masks, simulated clicks, losses, and a training loop that goes on.

Each part can be replaced: a `Task` draws batches, gives their loss and scores a network; `train` does the rest.
"""

from interactify.learning.class_task import ClassLogits, ClassTask
from interactify.learning.click_files import load_click_network, save_click_network
from interactify.learning.click_sampling import ClickSampler, FirstClick, NoClick, SpreadClicks
from interactify.learning.click_task import ClickTask
from interactify.learning.labelled_photos import Drawing, LabelledPhoto, photos_in
from interactify.learning.loop import Recipe, Task, train
from interactify.learning.losses import LOSSES, cross_entropy, cross_entropy_and_iou, normalised_focal
from interactify.learning.low_rank import low_rank_deltas
from interactify.learning.masks_task import MaskTask, Stage, mean_iou
from interactify.learning.object_crops import ObjectCrops
from interactify.learning.parts import PARTS, Group, groups_of

__all__ = [
    "LOSSES",
    "PARTS",
    "ClassLogits",
    "ClassTask",
    "ClickSampler",
    "ClickTask",
    "Drawing",
    "FirstClick",
    "Group",
    "LabelledPhoto",
    "MaskTask",
    "NoClick",
    "ObjectCrops",
    "Recipe",
    "SpreadClicks",
    "Stage",
    "Task",
    "cross_entropy",
    "cross_entropy_and_iou",
    "groups_of",
    "load_click_network",
    "low_rank_deltas",
    "mean_iou",
    "normalised_focal",
    "photos_in",
    "save_click_network",
    "train",
]
