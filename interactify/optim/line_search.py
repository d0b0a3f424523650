"""A line search for the strong Wolfe conditions, on plain numbers: it proposes steps and takes their values.

Moré and Thuente, 'Line search algorithms with guaranteed sufficient decrease', ACM TOMS 20 (1994).
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass


class Verdict(enum.Enum):
    """What to do after the last step."""

    CONTINUE = "try search.step next"
    ACCEPT = "the step just tried satisfies both conditions"
    SETTLE = "no better step can be distinguished: take the lowest, if it is below the start"


@dataclass(frozen=True)
class Trial:
    """A step along the direction, the value there and its derivative along the direction."""

    step: float
    value: float
    slope: float


class WolfeSearch:
    """Find a step with value <= start + decrease·step·slope and |slope there| <= curvature·|slope at the start|.

    The interface is ask-and-tell: read `step`, evaluate there, `tell` value and slope, until the verdict is not
    CONTINUE. `lowest` is the best trial so far. noise: smaller differences in value are rounding. It works without
    tensors and objective: the caller evaluates.

    >>> search = WolfeSearch(Trial(0.0, value=1.0, slope=-2.0), step=3.0)      # (1 - t)²
    >>> search.tell(value=4.0, slope=4.0), search.step
    (<Verdict.CONTINUE: 'try search.step next'>, 1.0)
    >>> search.tell(value=0.0, slope=0.0).name
    'ACCEPT'
    """

    def __init__(
        self,
        start: Trial,
        step: float,
        *,
        decrease: float = 1e-4,
        curvature: float = 0.9,
        noise: float = 0.0,
        max_trials: int = 20,
    ) -> None:
        self.start = start
        self.step = step
        self.decrease = decrease
        self.curvature = curvature
        self.noise = noise
        self.trials_left = max_trials
        self.lowest = start
        self._other = start  # the far end of the interval, once `_bracketed`
        self._bracketed = False
        self._auxiliary = True  # first phase of the paper: search on value - decrease·step·slope
        self._wall = math.inf  # steps from here on gave no finite value
        self._widths = (math.inf, math.inf)  # of the bracket, two trials ago and one trial ago

    def tell(self, value: float, slope: float) -> Verdict:
        """Take value and slope at `step`; if they are not finite, the step was too long."""
        trial = Trial(self.step, value, slope)
        self.trials_left -= 1
        if not (math.isfinite(value) and math.isfinite(slope)):
            self._wall = trial.step
            self.step = self.lowest.step + 0.25 * (trial.step - self.lowest.step)
            return self._unless_exhausted()
        required = self.start.value + self.decrease * trial.step * self.start.slope
        flat_enough = abs(slope) <= -self.curvature * self.start.slope
        if flat_enough and (value <= required or abs(value - self.start.value) <= self.noise):
            return Verdict.ACCEPT
        if value <= required and slope >= 0:
            self._auxiliary = False
        tilt = self.decrease * self.start.slope if self._auxiliary and required < value <= self.lowest.value else 0.0
        self._narrow(trial, tilt)
        return self._unless_exhausted()

    def _narrow(self, trial: Trial, tilt: float) -> None:
        """Move the interval's ends and propose the next step; a tilt makes this a step on the auxiliary function."""
        lowest, other, tilted = (_tilted(end, tilt) for end in (self.lowest, self._other, trial))
        reach = _reach(self.lowest.step, trial.step)
        step, brackets = _next_step(lowest, other, tilted, self._bracketed, reach)
        if tilted.value > lowest.value:
            self._other = trial
        else:
            if tilted.slope * lowest.slope < 0:
                self._other = self.lowest
            self.lowest = trial
        self._bracketed = self._bracketed or brackets
        if self._bracketed:
            width = abs(self._other.step - self.lowest.step)
            # If interpolation has no solution or shrinks the bracket too slowly, halve the bracket.
            if math.isnan(step) or width >= 0.66 * self._widths[0]:
                step = 0.5 * (self.lowest.step + self._other.step)
            self._widths = (self._widths[1], width)
        elif step >= self._wall:
            step = 0.5 * (self.lowest.step + self._wall)
        self.step = step

    def _unless_exhausted(self) -> Verdict:
        """Continue while trials are left and the interval still holds steps that can be distinguished."""
        if self.trials_left <= 0 or not math.isfinite(self.step) or self.step <= 0:
            return Verdict.SETTLE
        if self._bracketed:
            low, high = sorted((self.lowest.step, self._other.step))
            if not low < self.step < high or high - low <= 0.1 * high:  # a tenth of the step is exact enough
                return Verdict.SETTLE
        # Even the whole decrease that the slope predicts would be lost in rounding.
        return Verdict.SETTLE if -self.step * self.start.slope <= 0.1 * self.noise else Verdict.CONTINUE


def _tilted(trial: Trial, tilt: float) -> Trial:
    """The trial on the auxiliary function value - tilt·step."""
    return Trial(trial.step, trial.value - tilt * trial.step, trial.slope - tilt) if tilt else trial


def _reach(lowest: float, trial: float) -> tuple[float, float]:
    """The nearest and farthest step to extrapolate to, as long as no minimum is bracketed."""
    return trial + 1.1 * (trial - lowest), trial + 4.0 * (trial - lowest)


def _next_step(
    lowest: Trial, other: Trial, trial: Trial, bracketed: bool, reach: tuple[float, float]
) -> tuple[float, bool]:
    """The next step by interpolation, and whether a minimum now is bracketed: the paper's four cases (section 4)."""
    ahead = trial.step - lowest.step
    cubic = _cubic_minimum(lowest, trial)
    secant = _secant_minimum(lowest, trial)
    if trial.value > lowest.value:  # 1: higher, so a minimum lies between
        quadratic = _quadratic_minimum(lowest, trial)
        nearer = abs(cubic - lowest.step) < abs(quadratic - lowest.step)
        return (cubic if nearer else 0.5 * (cubic + quadratic)), True
    if trial.slope * lowest.slope < 0:  # 2: lower, and rising: a minimum lies between
        return max(cubic, secant, key=lambda step: abs(step - trial.step)), True
    if abs(trial.slope) < abs(lowest.slope):  # 3: lower, falling less steeply
        if bracketed:
            steps = [step for step in (cubic, secant) if (step - trial.step) * ahead > 0]
            step = min(steps, key=lambda step: abs(step - trial.step)) if steps else other.step
            limit = trial.step + 0.66 * (other.step - trial.step)
            return (min(step, limit) if ahead > 0 else max(step, limit)), False
        near, far = reach
        farthest = max(cubic if (cubic - trial.step) * ahead > 0 else far, secant)
        return min(max(farthest, near), far), False
    if bracketed:  # 4: lower, falling at least as steeply
        return _cubic_minimum(other, trial), False
    return reach[1], False


def _cubic_minimum(a: Trial, b: Trial) -> float:
    """The minimiser of the cubic through two values and slopes; NaN where the cubic has none."""
    mean = 3.0 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope
    scale = max(abs(mean), abs(a.slope), abs(b.slope))
    if scale == 0.0:
        return math.nan
    radicand = (mean / scale) * (mean / scale) - (a.slope / scale) * (b.slope / scale)
    if not radicand > 0.0:
        return math.nan
    root = math.copysign(scale * math.sqrt(radicand), b.step - a.step)
    return _ratio_step(a, b, b.slope + root - mean, b.slope - a.slope + 2.0 * root)


def _quadratic_minimum(a: Trial, b: Trial) -> float:
    """The stationary point of the parabola through two values and the slope of the first."""
    return a.step + _divided(a.slope, (a.value - b.value) / (b.step - a.step) + a.slope) / 2.0 * (b.step - a.step)


def _secant_minimum(a: Trial, b: Trial) -> float:
    """Where the straight line through two slopes is zero; NaN where it never is."""
    return _ratio_step(a, b, b.slope, b.slope - a.slope)


def _ratio_step(a: Trial, b: Trial, numerator: float, denominator: float) -> float:
    return b.step - (b.step - a.step) * _divided(numerator, denominator)


def _divided(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0.0 else math.nan
