"""Evaluation: simulated users, metrics, data sets in their published layouts, runs over them, and reports."""

from interactify.evaluation.data.dataset import AnnotatedPhoto, Dataset, Sample
from interactify.evaluation.data.dataset_coco import coco
from interactify.evaluation.data.dataset_folders import berkeley, classes, davis, folder, grabcut
from interactify.evaluation.data.dataset_sbd import sbd
from interactify.evaluation.data.datasets import dataset_named
from interactify.evaluation.metrics import (
    area_under_curve,
    boundary_iou,
    collateral_change,
    failures,
    iou,
    number_of_clicks,
)
from interactify.evaluation.records import Evaluation, Record, VolumeRecord
from interactify.evaluation.run import evaluate
from interactify.evaluation.scribbles import Strokes, strokes
from interactify.evaluation.simulated_user import Centre, Jitter, Pairs, SimulatedUser
from interactify.evaluation.surface import SurfaceDistance, surface_distance
from interactify.interactions.next_click import next_click

__all__ = [
    "AnnotatedPhoto",
    "Centre",
    "Dataset",
    "Evaluation",
    "Jitter",
    "Pairs",
    "Record",
    "Sample",
    "SimulatedUser",
    "Strokes",
    "SurfaceDistance",
    "VolumeRecord",
    "area_under_curve",
    "berkeley",
    "boundary_iou",
    "classes",
    "coco",
    "collateral_change",
    "dataset_named",
    "davis",
    "evaluate",
    "failures",
    "folder",
    "grabcut",
    "iou",
    "next_click",
    "number_of_clicks",
    "sbd",
    "strokes",
    "surface_distance",
]
