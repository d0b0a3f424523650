"""Which photo is offered next: by name, or the one on which the network is least certain."""

from __future__ import annotations

import threading
from typing import Final

import torch

from interactify.app.store.project import Photo, Project
from interactify.inspection.activation import INDEPENDENT
from interactify.interactive import Interactive
from interactify.pictures.window import whole
from interactify.refinement.wrapped import Wrapped

ORDERS: Final = ("name", "uncertain")
MOST: Final = 48  # photos that are looked at; those after them come by name


class Uncertain:
    """Photos by how uncertain the network is, the most uncertain first; computed once for each, in the background."""

    def __init__(self, net: Interactive, project: Project) -> None:
        self.net, self.project = net, project
        self._ends = threading.Event()
        self._known: dict[int, float] = {}
        self._thread = threading.Thread(target=self._look, name="interactify-order", daemon=True)
        self._thread.start()

    def after(self, number: int) -> int | None:
        """The number of the most uncertain open photo that is known; else of the next open one by name, or None."""
        photos = [photo for photo in self.project.photos if photo.status == "open" and photo.number != number]
        by_name = sorted(photos, key=lambda photo: (photo.number < number, photo.number))
        known = [photo for photo in by_name if photo.number in self._known]
        if known:
            return max(known, key=lambda photo: self._known[photo.number]).number
        return by_name[0].number if by_name else None

    def wait(self) -> None:
        """Wait until all that will be known is known."""
        self._thread.join()

    def close(self) -> None:
        """End looking at photos."""
        self._ends.set()

    def _look(self) -> None:
        waiting = [photo for photo in self.project.photos if photo.status == "open"][:MOST]
        for photo in waiting:
            if self._ends.is_set():
                return
            try:
                self._known[photo.number] = uncertainty(self.net, photo)
            except Exception:  # an unreadable photo says so when it is opened
                continue


def uncertainty(net: Wrapped, photo: Photo) -> float:
    """The mean entropy of the network's own prediction over its own grid, 0 (certain) to 1 (each class as likely)."""
    network, output = net.network, net.spec.output
    picture = net.picture(photo.path)
    image = network.normalised(picture.to_network(whole(picture.size), network.view(picture.size)))
    logits = network.plain_logits(image).float()
    if output.classes > 1 and output.activation not in INDEPENDENT:
        p = logits.softmax(1)
        return float(torch.special.entr(p).sum(1).mean() / torch.log(torch.tensor(float(output.classes))))
    p = logits.sigmoid()
    entropy = torch.special.entr(p) + torch.special.entr(1 - p)
    return float(entropy.mean() / torch.log(torch.tensor(2.0)))
