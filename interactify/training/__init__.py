"""Training that starts from what users did: their own network learns from the masks that they accepted."""

from interactify.training.teach import RECIPE, Figures, Lesson, teach

__all__ = ["RECIPE", "Figures", "Lesson", "teach"]
