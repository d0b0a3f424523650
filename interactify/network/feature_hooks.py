"""Change a map inside the network during one forward pass, in one thread.

The hook on the replica's layer is permanent. It does nothing unless its thread is inside `changed_at`, so two sessions
on one network, in two threads, don't affect each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from interactify.inspection.probe import submodule

Change = Callable[[Tensor], Tensor]
_active = threading.local()


def attach(replica: nn.Module, name: str, sides: int = 2) -> None:
    """Put the hook on the layer of that name. Call it once for each layer of a replica; `sides` is 3 for volumes."""

    def hook(module: nn.Module, args: Any, out: Any) -> Any:
        change = getattr(_active, "changes", {}).get((id(replica), name))
        return out if change is None else with_last_map(out, change, sides)

    submodule(replica, name).register_forward_hook(hook)


@contextmanager
def changed_at(replica: nn.Module, name: str, change: Change) -> Iterator[None]:
    """Within this block and thread, replace the layer's map (the last one, if it returns several) by `change(map)`."""
    before = getattr(_active, "changes", {})
    _active.changes = {**before, (id(replica), name): change}
    try:
        yield
    finally:
        _active.changes = before


def with_last_map(out: Any, change: Change, sides: int = 2) -> Any:
    """A module's output with its last map changed, and everything else unchanged; a map has 2 sides, or 3 of volumes.

    Which one is the last is what `last_map` in `inspection/probe.py` found.
    """
    leaves, tree = tree_flatten(out)
    tensors = ((i, leaf) for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor))
    maps = [i for i, leaf in tensors if leaf.ndim == sides + 2 and leaf.shape[1] > 0]
    if maps:
        leaves[maps[-1]] = change(leaves[maps[-1]])
    return tree_unflatten(leaves, tree)
