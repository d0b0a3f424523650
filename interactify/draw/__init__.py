"""Pictures of results: overlays, interactions and contact sheets."""

from interactify.draw.gestures import pictured
from interactify.draw.overlays import (
    AZURE,
    GREEN,
    RED,
    WHITE,
    Colour,
    Mark,
    Picture,
    contact_sheet,
    overlay,
)

__all__ = ["AZURE", "GREEN", "RED", "WHITE", "Colour", "Mark", "Picture", "contact_sheet", "overlay", "pictured"]
