"""The interface of Segment Anything's predictor, for a wrapped network."""

from interactify.predictor.predictor import Predictor

__all__ = ["Predictor"]
