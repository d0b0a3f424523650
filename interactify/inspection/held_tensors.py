"""Tensors with gradients that a model has kept in its attributes, also inside lists, dicts and objects of its own.

After a forward pass with gradients, networks that keep feature maps (`self.skips = [f]`, a hook's `features[name] = f`)
hold tensors that belong to an autograd graph, and `copy.deepcopy` refuses those.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType

from torch import Tensor, nn

# copy.deepcopy keeps these as they are, so what they refer to is not copied.
_NOT_COPIED = (type, ModuleType, FunctionType, BuiltinFunctionType, weakref.ref, str, bytes, int, float)


def held_in_a_graph(model: nn.Module) -> Iterator[Tensor]:
    """All tensors reachable from a model that an autograd graph computed, each once.

    >>> model = nn.Conv2d(3, 1, 1)
    >>> model.skips = {"fine": [model.weight * 2]}
    >>> [tuple(tensor.shape) for tensor in held_in_a_graph(model)]
    [(1, 3, 1, 1)]
    """
    seen: set[int] = set()
    waiting: list[object] = [model]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, _NOT_COPIED):
            continue
        seen.add(id(value))
        if not isinstance(value, Tensor):
            waiting.extend(gc.get_referents(value))
        elif not value.is_leaf:
            yield value
