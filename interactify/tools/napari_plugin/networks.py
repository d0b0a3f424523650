"""The network that the widget names: built once, on the GPU where there is one, and cached until the name changes."""

from __future__ import annotations

from interactify.interactive import Interactive, wrap
from interactify.models.build import build_model, quickest_device


class Networks:
    """Builds networks by name; only the last one is cached, since they are large."""

    def __init__(self) -> None:
        self._cached: tuple[str, Interactive] | None = None

    def named(self, text: str) -> Interactive:
        """The wrapped network of that name, as `--model` takes it.

        Raises:
            ModelError, CheckpointError, NotEnoughMemoryError: as `build_model`, `wrap` and `Interactive.to`.
        """
        if self._cached is None or self._cached[0] != text:
            self._cached = text, wrap(build_model(text)).to(quickest_device())
        return self._cached[1]
