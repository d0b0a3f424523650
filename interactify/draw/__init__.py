"""Pictures to look at: overlays, interactions, contact sheets."""

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
