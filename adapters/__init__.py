"""Adapters: what is known about a family of networks before it runs, in a small file for each family.

An adapter describes where things are; it refines nothing. To add a family, write an object with `name`, `recognises`
and `knows`, and list it in your distribution's entry points; nothing here has to change. Such adapters come before the
built-in ones, and can't take their names:

    [project.entry-points."interactify.adapters"]
    mine = "my_package.interactify_adapter:MyAdapter"
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from torch import nn

from interactify.errors import AdapterError, ModelError, OptionError, reason_of
from interactify.inspection.spec import Knowledge

GROUP = "interactify.adapters"
_BUILT_IN = {
    "clicks": "interactify.adapters.clicks:Clicks",  # the first: a click network is of a family too
    "objects": "interactify.adapters.objects:Objects",
    "smp": "interactify.adapters.smp:Smp",
    "timm": "interactify.adapters.timm:Timm",
    "torchvision": "interactify.adapters.torchvision:Torchvision",
    "transformers": "interactify.adapters.transformers:Transformers",
    "exported": "interactify.adapters.exported:Exported",
    "generic": "interactify.adapters.generic:Generic",  # the last: it takes any network
}


class Adapter(Protocol):
    """An adapter: an object, or a class that creates one without arguments."""

    @property
    def name(self) -> str:
        """A short name, for `wrap(adapter=…)` and `describe()`."""

    def recognises(self, model: nn.Module) -> bool:
        """Whether `model` is of this family. Cheap, and without importing the family's package."""

    def knows(self, model: nn.Module) -> Knowledge:
        """What is known about `model`, which is only read; running it finds what is left out.

        Raises ModelError for a model of the family that can't be used, with what to try instead.
        """


def adapter_for(model: nn.Module, choice: str | Adapter | None = None) -> Adapter:
    """The chosen adapter, or the first that recognises the model: third parties', then the built-in ones.

    Raises:
        OptionError: no adapter of that name, or an object that is no adapter.
        AdapterError: a third party's adapter can't be loaded, or fails in `recognises`.

    >>> adapter_for(nn.Conv2d(3, 1, 1)).name
    'generic'
    """
    if choice is not None and not isinstance(choice, str):
        return _instance(choice, repr(choice))
    if choice is not None:
        if choice not in names():
            raise OptionError(f"Expected adapter to be one of {', '.join(names())}, got {choice!r}. Try 'generic'.")
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
    """What the model's adapter knows about it.

    Raises:
        OptionError: no adapter of that name.
        ModelError: the adapter knows that the model can't be used.
        AdapterError: the adapter fails, or returns something else than `Knowledge`.
    """
    adapter = adapter_for(model, choice)
    try:
        known = adapter.knows(model)
    except ModelError:
        raise
    except Exception as cause:  # another distribution's code, or a network that is not what it seems
        raise _failed(adapter.name, "knows", cause) from cause
    if not isinstance(known, Knowledge):
        raise AdapterError(
            f"Expected knows(model) of adapter {adapter.name!r} to return an interactify.adapters.Knowledge, got "
            f"{type(known).__name__}. Try wrap(adapter='generic'), which does not use it."
        )
    return known


def names() -> tuple[str, ...]:
    """All adapters, in the order in which they are tried."""
    return (*(name for name in _third_parties() if name not in _BUILT_IN), *_BUILT_IN)


@functools.cache
def _third_parties() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


@functools.cache
def _loaded(name: str) -> Adapter:
    if name in _BUILT_IN:
        module, _, kind = _BUILT_IN[name].partition(":")
        return _instance(getattr(importlib.import_module(module), kind), name)
    try:
        return _instance(_third_parties()[name].load(), f"what {_third_parties()[name].value} names")
    except Exception as cause:  # importing another distribution, or creating its adapter, may raise anything
        raise _failed(name, "loading", cause) from cause


def _instance(found: object, called: str) -> Adapter:
    try:
        instance = found() if isinstance(found, type) else found
    except TypeError as cause:  # a class that is no adapter, or one that needs arguments
        raise OptionError(
            f"Expected an adapter that is created without arguments, got {called}: {cause}. Try giving an object."
        ) from cause
    if not isinstance(getattr(instance, "name", None), str) or not all(
        callable(getattr(instance, member, None)) for member in ("recognises", "knows")
    ):
        raise OptionError(
            f"Expected an adapter with name, recognises(model) and knows(model), got {called}. Try 'generic'."
        )
    adapter: Adapter = instance  # type: ignore[assignment]
    return adapter


def _failed(name: str, where: str, cause: Exception) -> AdapterError:
    return AdapterError(
        f"Expected an adapter that works, got {name!r}, which failed at {where}: {reason_of(cause)}. "
        "Try wrap(adapter='generic'), which does not use it."
    )
