"""Records of a run: the clicks and metrics of each object, and the figures that papers report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from interactify.evaluation.metrics import area_under_curve, continued, failures, number_of_clicks


@dataclass(frozen=True)
class Record:
    """The clicks and metrics of one object.

    A prediction may follow several clicks (a user who clicks twice before each, a stroke): `curve`, `boundary` and
    `clicks` have an entry a click, the other lists an entry a prediction. A curve is constant between the clicks of one
    prediction.

    Attributes:
        name: of the photo, with #object where there are several.
        curve: IoU after 0, 1, 2, … clicks.
        boundary: boundary IoU after 0, 1, 2, … clicks.
        clicks: [x, y, positive] of each; a stroke, which counts as one, has several.
        predictions: for each prediction the number of clicks before it.
        satisfied: whether every click was satisfied after it.
        evaluations: of the network, with gradient.
        seconds: wall time without reading the photo and the simulated user.
        collateral: share of the photo that became wrong far from every new click.
    """

    name: str
    curve: list[float]
    satisfied: list[bool] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    collateral: list[float] = field(default_factory=list)
    boundary: list[float] = field(default_factory=list)
    predictions: list[int] = field(default_factory=list)
    clicks: list[list[list[Any]]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`; `Record.from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Record:
        """The record of a dict from `to_json`.

        Raises:
            TypeError: the dict has other keys, or no curve.

        >>> Record.from_json(Record("a", [0.5]).to_json()) == Record("a", [0.5])
        True
        """
        names = {each.name for each in fields(cls)}
        if set(stored) != names or not stored["curve"]:
            raise TypeError(f"expected a record with {', '.join(sorted(names))}")
        return cls(**stored)


@dataclass(frozen=True)
class VolumeRecord(Record):
    """As `Record`, of an object in a volume: `clicks` are [x, y, z, positive].

    Attributes:
        surface: after 0, 1, 2, … clicks, [mean, 95th percentile] of the surface distance, in the unit of the volume's
            spacing; None for each where one of both objects is empty.
    """

    surface: list[list[float | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """Records of a run, and the figures that papers report."""

    records: tuple[Record, ...]
    clicks: int

    def iou_after(self, clicks: int) -> float:
        """Mean IoU after that many clicks; a curve that ends earlier counts with its last value."""
        return float(np.mean([continued(r.curve, clicks)[clicks] for r in self.records]))

    def boundary_iou_after(self, clicks: int) -> float:
        """Mean boundary IoU (Cheng et al. 2021, band of 2 % of the diagonal) after that many clicks."""
        return float(np.mean([continued(r.boundary, clicks)[clicks] for r in self.records]))

    def noc(self, threshold: float) -> float:
        """NoC@threshold; a failure counts as `clicks`."""
        return number_of_clicks([r.curve for r in self.records], threshold, self.clicks)

    def failures(self, threshold: float) -> int:
        """How many objects never reach that IoU; one that reaches it at the last click is no failure."""
        return failures([r.curve for r in self.records], threshold, self.clicks)

    @property
    def area_under_curve(self) -> float:
        """Mean area under the curve of IoU from 0 to `clicks` clicks, divided by `clicks`: in [0, 1]."""
        return float(np.mean([area_under_curve(r.curve, self.clicks) for r in self.records]))

    @property
    def satisfied(self) -> float:
        """Share of clicks after which every click was satisfied."""
        return float(np.mean(self._by_click(lambda r: [float(s) for s in r.satisfied], split=False) or [1.0]))

    @property
    def collateral(self) -> float:
        """Mean share of a photo's known pixels that a prediction made wrong far from its clicks (10 % of diagonal)."""
        return float(np.mean([share for r in self.records for share in r.collateral] or [0.0]))

    @property
    def evaluations_per_click(self) -> float:
        """Mean number of network evaluations for a click."""
        return float(np.mean(self._by_click(lambda r: r.evaluations) or [0]))

    @property
    def seconds_per_click(self) -> float:
        """Median wall time of a click, without the simulated user and reading the photo."""
        return self.seconds_at(50)

    def evaluations_at(self, percentile: float) -> float:
        """The number of network evaluations that the given percentage of clicks don't exceed."""
        return float(np.percentile(self._by_click(lambda r: r.evaluations) or [0], percentile))

    def seconds_at(self, percentile: float) -> float:
        """The wall time that the given percentage of clicks don't exceed."""
        return float(np.percentile(self._by_click(lambda r: r.seconds) or [0.0], percentile))

    def summary(self) -> dict[str, Any]:
        """All figures, as a dict for `json.dumps`.

        >>> Evaluation((Record("a", [0.5, 0.95], [True], [3], [0.1], [0.0], [0.4, 0.9], [1]),), 20).summary()["noc_90"]
        1.0
        """
        steps = self._steps
        has_boundary = all(r.boundary for r in self.records)
        return {
            "objects": len(self.records),
            "clicks": self.clicks,
            **{f"noc_{q}": round(self.noc(q / 100), 4) for q in (80, 85, 90)},
            **{f"failures_{q}": self.failures(q / 100) for q in (80, 85, 90)},
            "iou_after": {str(k): round(self.iou_after(k), 4) for k in steps},
            "boundary_iou_after": {str(k): round(self.boundary_iou_after(k), 4) for k in steps if has_boundary},
            "area_under_curve": round(self.area_under_curve, 4),
            "satisfied": round(self.satisfied, 4),
            "collateral_change": round(self.collateral, 6),
            "evaluations_per_click": {
                "mean": round(self.evaluations_per_click, 3),
                "median": round(self.evaluations_at(50), 3),
                "95th percentile": round(self.evaluations_at(95), 3),
            },
            "seconds_per_click": {
                "median": round(self.seconds_at(50), 5),
                "95th percentile": round(self.seconds_at(95), 5),
            },
        }

    def __str__(self) -> str:
        curve = "  ".join(f"@{k} {self.iou_after(k):.3f}" for k in self._steps)
        never = ", ".join(f"{self.failures(q / 100)} under {q}" for q in (80, 85, 90))
        return (
            f"{len(self.records)} objects, at most {self.clicks} clicks\n"
            f"IoU after k clicks  {curve}\n"
            f"NoC@80 {self.noc(0.80):.2f}  NoC@85 {self.noc(0.85):.2f}  NoC@90 {self.noc(0.90):.2f}  never: {never}\n"
            f"clicks satisfied {self.satisfied:.2%}, {self.evaluations_per_click:.1f} evaluations and "
            f"{self.seconds_per_click * 1000:.0f} ms a click"
        )

    @property
    def _steps(self) -> list[int]:
        return sorted({k for k in (0, 1, 2, 3, 5, 10, 20) if k <= self.clicks} | {self.clicks})

    def _by_click(self, of: Callable[[Record], Sequence[float]], *, split: bool = True) -> list[float]:
        """A prediction's value split among its clicks; or, not split, the same for each of them."""
        values = []
        for record in self.records:
            for value, count in zip(of(record), record.predictions or [1] * len(record.satisfied), strict=True):
                values += [value / count if split else value] * count
        return values
