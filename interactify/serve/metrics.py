"""What a service counts and measures, for Prometheus: in a registry of its own, so that services don't add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # upper ends of a histogram's buckets


class Metrics:
    """All that a service measures.

    >>> metrics = Metrics()
    >>> metrics.actions.labels("add").inc()
    >>> 'interactify_actions_total{do="add"} 1.0' in metrics.text().decode()
    True
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Responses, by route and status.", "route", "status")
        self.actions = self._counter("actions", "Actions that were made and stored, by their kind.", "do")
        self.superseded = self._counter("superseded", "Refinements that ended early for a newer action.")
        self.replays = self._counter("replays", "Sessions that were opened again from the store.")
        self.evicted = self._counter("evicted", "Sessions that left memory to make room, or unused.")
        self.conflicts = self._counter("conflicts", "Actions that another replica was faster with.")
        self.waited = self._histogram("waited", "From an action's arrival to its turn on the device.")
        self.answered = self._histogram("action", "From an action's arrival to its answer.")

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a number that is asked for when it is read."""
        self.registry.register(_Asked(f"interactify_{name}", text, read))

    def text(self) -> bytes:
        """The numbers as Prometheus reads them; one that can't be read now is left out."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"interactify_{name}", text, labels, registry=self.registry)  # it adds _total to the name

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"interactify_{name}_seconds", text, registry=self.registry, buckets=SECONDS)


class _Asked(Collector):
    """A number that is asked for when it is read: unlike a Gauge with a function, it may fail."""

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self.name, self.text, self._read = name, text, read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            value = float(self._read())
        except Exception:  # a store that is away: its number is not known
            return
        yield GaugeMetricFamily(self.name, self.text, value)
