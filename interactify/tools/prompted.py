"""Where a tool's prompts are answered: by a network on this machine, or by a service that runs it on another one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, Protocol

from PIL import Image

from interactify.interactive import Interactive
from interactify.predictor.photo import PromptedPhoto, ScoredMask
from interactify.predictor.prompts import Prompt
from interactify.web.about import About
from interactify.web.about_network import about_network

if TYPE_CHECKING:  # httpx, an optional package, comes with it
    from interactify.client import Service, Session

PNG: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes of pictures that a PNG holds as they are


class Photo(Protocol):
    """An open photo."""

    def answer(self, prompt: Prompt, target: int | str | None) -> ScoredMask:
        """The object that a prompt describes, whatever was asked before. `target` is as for `Interactive.session`."""

    def close(self) -> None:
        """Give it back."""


class Network(Protocol):
    """A network that opens photos."""

    about: About

    def open(self, photo: Image.Image) -> Photo:
        """Open a photo, with its rotation applied. Raises as `Interactive.session`."""


class Here:
    """A wrapped network of this process."""

    def __init__(self, net: Interactive) -> None:
        self.net, self.about = net, about_network(net)

    def open(self, photo: Image.Image) -> PhotoHere:
        return PhotoHere(PromptedPhoto(self.net, self.net.session(photo)))


class PhotoHere:
    """A photo under a network of this process."""

    def __init__(self, prompted: PromptedPhoto) -> None:
        self._prompted = prompted

    def answer(self, prompt: Prompt, target: int | str | None) -> ScoredMask:
        return ScoredMask.of(self._prompted.refine(prompt, target))

    def close(self) -> None:
        self._prompted.session.close()


class AtService:
    """A network of a service."""

    def __init__(self, service: Service, network: str | None = None) -> None:
        """Raises ServiceError where it does not answer or its key is another one; OptionError for unknown networks."""
        self.service, self.network = service, network
        self.about = About.from_json(service.about(network, patience=5.0))

    def open(self, photo: Image.Image) -> PhotoAtService:
        return PhotoAtService(self.service.session(file_of(photo), network=self.network))


class PhotoAtService:
    """A photo that is open at a service."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def answer(self, prompt: Prompt, target: int | str | None) -> ScoredMask:
        found = self._session.prompt(prompt.clicks, prompt.box, target)
        return ScoredMask(found.mask, found.score)

    def close(self) -> None:
        self._session.close(delete=True)


def file_of(photo: Image.Image) -> bytes:
    r"""A picture as a file that holds exactly its values: PNG, or TIFF for modes that PNG does not have.

    >>> [file_of(Image.new(mode, (8, 8)))[:4] for mode in ("RGBA", "F")]
    [b'\x89PNG', b'II*\x00']
    """
    content = io.BytesIO()
    photo.save(content, "PNG" if photo.mode in PNG else "TIFF")
    return content.getvalue()
