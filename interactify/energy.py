"""Moved to `interactify.brs.energy`; this name goes in version 0.3."""

import warnings

from interactify.brs.energy import *  # noqa: F403

warnings.warn("interactify.energy has moved to interactify.brs.energy.", DeprecationWarning, stacklevel=2)
