"""Training: a network that follows clicks, and one that learns from the masks that its users accepted."""

from interactify.training.clicks import ClickTraining, train_for_clicks
from interactify.training.teach import RECIPE, Figures, Lesson, teach

__all__ = ["RECIPE", "ClickTraining", "Figures", "Lesson", "teach", "train_for_clicks"]
