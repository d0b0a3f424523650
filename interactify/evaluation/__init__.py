"""Measuring: the simulated user, the metrics, and a run over a data set."""

from interactify.evaluation.metrics import iou, number_of_clicks
from interactify.evaluation.run import Evaluation, Record, Sample, evaluate, folder
from interactify.evaluation.simulated_user import next_click

__all__ = ["Evaluation", "Record", "Sample", "evaluate", "folder", "iou", "next_click", "number_of_clicks"]
