"""What is known of a family of networks before one of it is run: a small file for each family.

An adapter says where things are; it refines nothing. To add a family, write an object with a `name`, `recognises` and
`knows`, and name it in your distribution's entry points; nothing here has to change. It goes before our own adapters,
and can't take the name of one of them:

    [project.entry-points."interactify.adapters"]
    mine = "my_package.interactify_adapter:MyAdapter"
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from torch import nn

from interactify.errors import AdapterError, OptionError
from interactify.inspection.spec import Knowledge

GROUP = "interactify.adapters"
_BUILT_IN = {
    "smp": "interactify.adapters.smp:Smp",
    "timm": "interactify.adapters.timm:Timm",
    "torchvision": "interactify.adapters.torchvision:Torchvision",
    "transformers": "interactify.adapters.transformers:Transformers",
    "generic": "interactify.adapters.generic:Generic",  # the last: it takes everything
}


class Adapter(Protocol):
    """What an adapter is: an object, or a class that is called without arguments to make one."""

    @property
    def name(self) -> str:
        """A short name, for `wrap(adapter=…)` and `describe()`."""

    def recognises(self, model: nn.Module) -> bool:
        """Whether `model` is of this family. Cheap, and without importing the family's package."""

    def knows(self, model: nn.Module) -> Knowledge:
        """What holds for `model`, which is only read; what is left out is found by running it."""


def adapter_for(model: nn.Module, choice: str | Adapter | None = None) -> Adapter:
    """The adapter that was asked for, or the first that recognises the model: third parties', then our own.

    Raises:
        OptionError: no adapter of that name, or an object that is none.
        AdapterError: a third party's adapter can't be loaded, or fails at recognising.

    >>> adapter_for(nn.Conv2d(3, 1, 1)).name
    'generic'
    """
    if choice is not None and not isinstance(choice, str):
        return _made(choice, repr(choice))
    if choice is not None:
        if choice not in names():
            raise OptionError(f"No adapter is called {choice!r}; there are {', '.join(names())}.")
        return _loaded(choice)
    for name in names():
        adapter = _loaded(name)
        try:
            recognised = adapter.recognises(model)
        except Exception as cause:  # another distribution's code
            raise _failed(name, "recognises", cause) from cause
        if recognised:
            return adapter
    return _loaded("generic")


def knowledge_of(model: nn.Module, choice: str | Adapter | None = None) -> Knowledge:
    """What the model's adapter knows of it.

    Raises:
        OptionError: no adapter of that name.
        AdapterError: the adapter fails, or answers with something else than `Knowledge`.
    """
    adapter = adapter_for(model, choice)
    try:
        known = adapter.knows(model)
    except Exception as cause:  # another distribution's code, or a network that is not what it seems
        raise _failed(adapter.name, "knows", cause) from cause
    if not isinstance(known, Knowledge):
        raise AdapterError(
            f"Expected knows(model) of adapter {adapter.name!r} to return an interactify.adapters.Knowledge, got "
            f"{type(known).__name__}. wrap(adapter='generic') goes without it."
        )
    return known


def names() -> tuple[str, ...]:
    """The adapters there are, in the order they are asked."""
    return (*(name for name in _third_parties() if name not in _BUILT_IN), *_BUILT_IN)


@functools.cache
def _third_parties() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


@functools.cache
def _loaded(name: str) -> Adapter:
    if name in _BUILT_IN:
        module, _, kind = _BUILT_IN[name].partition(":")
        return _made(getattr(importlib.import_module(module), kind), name)
    try:
        return _made(_third_parties()[name].load(), f"what {_third_parties()[name].value} names")
    except Exception as cause:  # whatever importing another distribution, or making its adapter, raises
        raise _failed(name, "loading", cause) from cause


def _made(found: object, called: str) -> Adapter:
    try:
        made = found() if isinstance(found, type) else found
    except TypeError as cause:  # a class that is no adapter, or one that needs arguments
        raise OptionError(f"Expected an adapter that is made without arguments, got {called}: {cause}.") from cause
    if not isinstance(getattr(made, "name", None), str) or not all(
        callable(getattr(made, member, None)) for member in ("recognises", "knows")
    ):
        raise OptionError(f"Expected an adapter with name, recognises(model) and knows(model), got {called}.")
    adapter: Adapter = made  # type: ignore[assignment]
    return adapter


def _failed(name: str, where: str, cause: Exception) -> AdapterError:
    return AdapterError(
        f"The adapter {name!r} failed at {where}: {type(cause).__name__}: {cause}. wrap(adapter='generic') goes "
        "without it."
    )
