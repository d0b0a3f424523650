"""A map from tensors to values that keeps no tensor alive.

Tensors are compared by identity: their `==` compares numbers, and their ids may be used again after their death.
"""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

from torch import Tensor

V = TypeVar("V")


class WeakTensorMap(Generic[V]):
    """A value for each of some tensors, forgotten when the tensor dies.

    `torch.utils.weak.WeakIdKeyDictionary` does the same with a Python `__eq__` and `__hash__` for each look-up. While a
    network is recorded there is one for every tensor of every call.

    >>> tensor, marks = torch.zeros(2), WeakTensorMap[str]()
    >>> marks[tensor] = "image"
    >>> marks.get(tensor), marks.get(torch.zeros(2)), tensor in marks
    ('image', None, True)
    """

    def __init__(self) -> None:
        entries: dict[int, tuple[weakref.KeyedRef[int, Tensor], V]] = {}

        def forget(reference: weakref.KeyedRef[int, Tensor]) -> None:
            entry = entries.get(reference.key)
            if entry is not None and entry[0] is reference:
                del entries[reference.key]

        self._entries, self._forget = entries, forget

    def get(self, tensor: object) -> V | None:
        """The tensor's value; None where it has none."""
        entry = self._entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def __contains__(self, tensor: object) -> bool:
        entry = self._entries.get(id(tensor))
        return entry is not None and entry[0]() is tensor

    def __setitem__(self, tensor: Tensor, value: V) -> None:
        key = id(tensor)
        self._entries[key] = weakref.KeyedRef(tensor, self._forget, key), value

    def discard(self, tensor: Tensor) -> None:
        """Forget a tensor, if it has a value."""
        if tensor in self:
            del self._entries[id(tensor)]

    def __len__(self) -> int:
        return len(self._entries)
