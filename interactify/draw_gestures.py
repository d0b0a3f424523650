"""Moved to `interactify.draw.gestures`; this name goes in version 0.3."""

import warnings

from interactify.draw.gestures import *  # noqa: F403

warnings.warn("interactify.draw_gestures has moved to interactify.draw.gestures.", DeprecationWarning, stacklevel=2)
