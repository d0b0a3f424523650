"""What moves a network's weights: photos with masks, simulated clicks, losses, and a training loop that goes on.

Each part can be replaced: a `Task` draws batches, gives their loss and scores a network; `train` does the rest.
"""

from interactify.learning.class_task import ClassLogits, ClassTask
from interactify.learning.labelled_photos import Drawing, LabelledPhoto, photos_in
from interactify.learning.loop import Recipe, Task, train
from interactify.learning.losses import LOSSES, cross_entropy, cross_entropy_and_iou, normalised_focal
from interactify.learning.masks_task import MaskTask, Stage, mean_iou
from interactify.learning.parts import PARTS, Group, groups_of

__all__ = [
    "LOSSES",
    "PARTS",
    "ClassLogits",
    "ClassTask",
    "Drawing",
    "Group",
    "LabelledPhoto",
    "MaskTask",
    "Recipe",
    "Stage",
    "Task",
    "cross_entropy",
    "cross_entropy_and_iou",
    "groups_of",
    "mean_iou",
    "normalised_focal",
    "photos_in",
    "train",
]
