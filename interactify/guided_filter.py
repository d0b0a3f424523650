"""Moved to `interactify.propagation.guided_filter`; this name goes in version 0.3."""

import warnings

from interactify.propagation.guided_filter import *  # noqa: F403

warnings.warn(
    "interactify.guided_filter has moved to interactify.propagation.guided_filter.", DeprecationWarning, stacklevel=2
)
