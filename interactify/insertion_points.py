"""Moved to `interactify.network.insertion_points`; this name goes in version 0.3."""

import warnings

from interactify.network.insertion_points import *  # noqa: F403

warnings.warn(
    "interactify.insertion_points has moved to interactify.network.insertion_points.", DeprecationWarning, stacklevel=2
)
