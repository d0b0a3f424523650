"""A session's past, present and undone future: states that share their steps, none of which is ever changed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from interactify.interactions import Click
from interactify.request import Frame
from interactify.result import Result
from interactify.window import Window


@dataclass(frozen=True, eq=False)
class Step:
    """The state after one interaction: all clicks so far, where the variables are, and what they give."""

    clicks: tuple[Click, ...]
    frame: Frame
    values: Tensor
    result: Result


State = tuple[Step, ...]
"""All that holds at one time: the steps from the first click on, each made from the one before."""
Group = tuple[Click, ...]
"""Clicks that are answered at once, by one step."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """What holds, what held before each change, and what undo left.

    Attributes:
        now: the state that holds.
        past: what undo goes back to, the latest last.
        undone: what redo goes on to, the next last.
    """

    now: State = ()
    past: tuple[State, ...] = field(default=())
    undone: tuple[State, ...] = field(default=())

    def then(self, state: State) -> Timeline:
        """A change: what was undone before it is gone."""
        return Timeline(state, (*self.past, self.now))

    def back(self) -> Timeline:
        """Before the last change; the same where there was none."""
        if not self.past:
            return self
        return Timeline(self.past[-1], self.past[:-1], (*self.undone, self.now))

    def on(self) -> Timeline:
        """After the change that was undone last; the same where there is none."""
        if not self.undone:
            return self
        return Timeline(self.undone[-1], (*self.past, self.now), self.undone[:-1])

    def seen_from(self, state: State) -> Timeline:
        """The same with another state as the one that holds."""
        return replace(self, now=state)

    @property
    def states(self) -> tuple[State, ...]:
        """All of them in time."""
        return (*self.past, self.now, *reversed(self.undone))


def groups_of(state: State) -> list[Group]:
    """The clicks that each step added."""
    counts = [0, *(len(step.clicks) for step in state)]
    return [step.clicks[before:] for before, step in zip(counts, state, strict=False)]


def edited(state: State, place: int, instead: Group) -> tuple[State, list[Group]]:
    """One click of a state replaced: the steps that stand, and the groups of clicks to be answered after them."""
    groups = groups_of(state)
    first = next(i for i, step in enumerate(state) if place < len(step.clicks))
    inside = place - (len(state[first].clicks) - len(groups[first]))
    changed = (*groups[first][:inside], *instead, *groups[first][inside + 1 :])
    return state[:first], [group for group in (changed, *groups[first + 1 :]) if group]


def outside_of(last: Step, window: Window, first: Step) -> Result | None:
    """What holds outside a step's window: what held when the window was opened."""
    if window == first.frame.window:
        return None
    return last.result.outside if window == last.frame.window else last.result
