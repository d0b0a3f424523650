"""What is being refined: whose turn it is, whether it is to end before it is done, and what it has come to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interactify import brs
from interactify.request import Request
from interactify.turns import Turns

if TYPE_CHECKING:
    from interactify.result import Result
    from interactify.scene import Scene
    from interactify.timeline import Steps


class UnderWay:
    """A session's changes as they run. Everything may be asked from any thread."""

    def __init__(self) -> None:
        self.turns = Turns()
        self._cancelled = threading.Event()
        self._at_once = False
        self._glimpse: tuple[Steps, int | None, Request, Tensor] | None = None

    @contextmanager
    def turn(self, newer: bool = False) -> Iterator[None]:
        """Wait until other changes are made, and make one; what is being refined ends where this one is `newer`."""
        with self.turns.mine(hurries=newer):
            try:
                yield
            finally:
                self._glimpse = None

    def begins(self, max_seconds: float | None) -> Callable[[], str | None]:
        """Forget what was cancelled before; returns what a refinement asks between evaluations.

        It says why to end ("superseded", "cancelled", "time"), or None.
        """
        self._cancelled.clear()
        if self._at_once:
            return lambda: "superseded"
        stop = brs.stopping(max_seconds, self._cancelled.is_set)
        return lambda: "superseded" if self.turns.awaited else stop()

    @contextmanager
    def ending_at_once(self) -> Iterator[None]:
        """What is refined meanwhile ends as "superseded": for saying again what ended so."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def cancel(self) -> None:
        """Let what is being refined end after the evaluation that is running."""
        self._cancelled.set()

    def watching(self, steps: Steps, target: int | None) -> Callable[[Request, Tensor], None]:
        """What a refinement that goes on from these steps is to tell after each evaluation: log-odds, for `preview`."""

        def seen(request: Request, odds: Tensor) -> None:
            self._glimpse = steps, target, request, odds

        return seen

    def preview(self, scene: Scene) -> Result | None:
        """What the last evaluation gives; None where nothing is being refined."""
        glimpse = self._glimpse
        if glimpse is None:
            return None
        steps, target, request, odds = glimpse
        with torch.inference_mode(False), torch.no_grad():
            seen = brs.Refinement(request.start, odds, float("nan"), False, 0, "preview")
            return scene.settled(steps, request, seen, target).result
