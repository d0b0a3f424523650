"""Moved to `interactify.inspection.spec`; this name goes in version 0.3."""

import warnings

from interactify.inspection.spec import *  # noqa: F403

warnings.warn("interactify.spec has moved to interactify.inspection.spec.", DeprecationWarning, stacklevel=2)
