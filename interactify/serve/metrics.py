"""What a service counts and measures, as the text that Prometheus reads.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # upper ends of a histogram's buckets

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows, for each combination of labels."""

    kind = "counter"

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self._values: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def add(self, amount: float = 1.0, **labels: str) -> None:
        """Add to the number of these labels."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def lines(self) -> list[str]:
        with self._lock:
            values = dict(self._values)
        return [f"{self.name}{_shown(key)} {value:g}" for key, value in sorted(values.items())] or [f"{self.name} 0"]


class Gauge:
    """A number that is asked for when it is read."""

    kind = "gauge"

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self.name, self.text, self._read = name, text, read

    def lines(self) -> list[str]:
        return [f"{self.name} {self._read():g}"]


class Histogram:
    """How many times took how long."""

    kind = "histogram"

    def __init__(self, name: str, text: str, ends: Sequence[float] = SECONDS) -> None:
        self.name, self.text, self._ends = name, text, tuple(ends)
        self._counts = [0] * (len(self._ends) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: float) -> None:
        """Count a time."""
        with self._lock:
            self._counts[bisect_left(self._ends, seconds)] += 1
            self._sum += seconds

    def lines(self) -> list[str]:
        with self._lock:
            counts, total = list(self._counts), self._sum
        found, below = [], 0
        for end, count in zip((*(f"{end:g}" for end in self._ends), "+Inf"), counts, strict=True):
            below += count
            found.append(f'{self.name}_bucket{{le="{end}"}} {below}')
        return [*found, f"{self.name}_sum {total:.6f}", f"{self.name}_count {below}"]


class Metrics:
    """All that a service measures.

    >>> metrics = Metrics()
    >>> metrics.actions.add(do="add")
    >>> print(metrics.text())
    # HELP interactify_requests_total Responses, by route and status.
    ...
    interactify_actions_total{do="add"} 1
    ...
    """

    def __init__(self) -> None:
        self.requests = Counter("interactify_requests_total", "Responses, by route and status.")
        self.actions = Counter("interactify_actions_total", "Actions that were made and stored, by their kind.")
        self.superseded = Counter("interactify_superseded_total", "Refinements that ended early for a newer action.")
        self.replays = Counter("interactify_replays_total", "Sessions that were opened again from the store.")
        self.evicted = Counter("interactify_evicted_total", "Sessions that left memory to make room, or unused.")
        self.conflicts = Counter("interactify_conflicts_total", "Actions that another replica was faster with.")
        self.waited = Histogram("interactify_waited_seconds", "From an action's arrival to its turn on the device.")
        self.answered = Histogram("interactify_action_seconds", "From an action's arrival to its answer.")
        self._all: list[Counter | Gauge | Histogram] = [
            *(self.requests, self.actions, self.superseded, self.replays, self.evicted, self.conflicts),
            *(self.waited, self.answered),
        ]

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a number that is asked for when it is read."""
        self._all.append(Gauge(name, text, read))

    def text(self) -> str:
        """The numbers as Prometheus reads them; one that can't be read now is left out."""
        lines = []
        for each in self._all:
            try:
                values = each.lines()
            except Exception:  # a store that is away: its number is not known
                continue
            lines += [f"# HELP {each.name} {each.text}", f"# TYPE {each.name} {each.kind}", *values]
        return "".join(f"{line}\n" for line in lines)


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = ((name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
