"""A user's work on one photo: interactions in, masks out, with undo, objects, files, logs, and many photos at once."""

from interactify.session.loading import load_session, replay
from interactify.session.session import Session

__all__ = ["Session", "load_session", "replay"]
