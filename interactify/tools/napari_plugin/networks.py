"""The network that the widget names: built here, or one of a service, which runs it on another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interactify.errors import OptionError, extra
from interactify.tools.napari_plugin.session_state import AnySession

if TYPE_CHECKING:
    from interactify.client import Service
    from interactify.interactive import Interactive


class AtService:
    """A network of a service: http://HOST:PORT, or http://HOST:PORT#NAME for another one than its first."""

    def __init__(self, address: str) -> None:
        """Raises OptionError without httpx, and ServiceError where there is no service, or its key is another one."""
        try:
            from interactify.client import connect
        except ModuleNotFoundError as cause:
            raise OptionError(f"A service needs httpx, which is not installed. Try {extra('client')}.") from cause
        url, _, name = address.partition("#")
        self.service: Service = connect(url, patience=20.0)
        self.network = name or None
        self.service.about(self.network, patience=3.0)

    def session(self, photo: NDArray[Any], target: int | str | None = None) -> AnySession:
        """A session at the service, which is sent 8 bits for each value."""
        return self.service.session(in_8_bits(photo), network=self.network, target=target)


class Networks:
    """Finds networks by name; only the last one is cached, since they are large."""

    def __init__(self) -> None:
        self._cached: tuple[str, Interactive | AtService] | None = None

    def named(self, text: str) -> Interactive | AtService:
        """The wrapped network of that name, as `--model` takes it; or that of a service, for its address.

        Raises:
            ModelError, CheckpointError, NotEnoughMemoryError: as `build_model`, `wrap` and `Interactive.to`.
            ServiceError, OptionError: as `AtService`.
        """
        if self._cached is None or self._cached[0] != text:
            self._cached = text, AtService(text) if text.startswith(("http://", "https://")) else _built(text)
        return self._cached[1]


def _built(text: str) -> Interactive:
    """Built once, on the GPU where there is one."""
    # Not at the top: these load torch, which a service spares this machine.
    from interactify.interactive import wrap
    from interactify.models.build import build_model, quickest_device

    return wrap(build_model(text)).to(quickest_device())


def in_8_bits(photo: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture as 8 bits for each value: numbers with a fraction are in [0, 1], whole ones in the range of their type.

    >>> in_8_bits(np.array([[0.0, 0.5, 1.0]])).tolist(), in_8_bits(np.array([[65535, 257]], np.uint16)).tolist()
    ([[0, 128, 255]], [[255, 1]])
    """
    if photo.dtype == np.uint8:
        return photo
    white = np.iinfo(photo.dtype).max if np.issubdtype(photo.dtype, np.integer) else 1.0
    values: NDArray[np.uint8] = np.round(np.clip(photo / white, 0, 1) * 255).astype(np.uint8)
    return values
