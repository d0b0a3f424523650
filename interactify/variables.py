"""Moved to `interactify.network.variables`; this name goes in version 0.3."""

import warnings

from interactify.network.variables import *  # noqa: F403

warnings.warn("interactify.variables has moved to interactify.network.variables.", DeprecationWarning, stacklevel=2)
