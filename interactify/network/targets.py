"""The target class of positive clicks, and its log-odds against the others."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torch import Tensor

from interactify.errors import OptionError, with_type
from interactify.inspection.activation import INDEPENDENT, Activation
from interactify.network.one_vs_rest import against_rest


def target_logit(logits: Tensor, target: int | None, activation: Activation) -> Tensor:
    """Log-odds (N, 1, H, W) of one class against the rest, from logits (N, K, H, W).

    K = 1: the logit itself. Exclusive classes: z_k − logsumexp of the others. With a sigmoid for each class
    (multi-label), in the network or meant for its logits: z_k alone. `target=None` means everything but class 0, the
    background of most label sets.
    """
    classes = logits.shape[1]
    if classes == 1:
        return logits
    if activation in INDEPENDENT:
        return logits[:, 1:].amax(1, keepdim=True) if target is None else logits[:, target : target + 1]
    return -against_rest(logits, 0) if target is None else against_rest(logits, target)


def class_index(target: object, classes: int, names: Sequence[str] = ()) -> int | None:
    """The index of a class; None for None and "clicked", the class under the first click.

    A name is one of `names`, or one of its synonyms, as in "tabby, tabby cat"; case does not matter.

    Raises:
        OptionError: for anything else.

    >>> class_index("Tabby", 2, ["tiger cat", "tabby, tabby cat"])
    1
    """
    if target is None:
        return None
    if isinstance(target, str):
        if target == "clicked":
            return None
        wanted = target.strip().lower()
        found = [k for k, name in enumerate(names) if wanted == name.lower()]
        found = found or [
            k for k, name in enumerate(names) if wanted in (part.strip() for part in name.lower().split(","))
        ]
        if len(found) == 1:
            return found[0]
        if not names:
            raise OptionError(
                f"Expected a class index, since this network has no class names, got {target!r}. Try an index from 0 "
                f"to {classes - 1}, or class_names=…."
            )
        if found:
            raise OptionError(
                f"Expected the name of one class, got {target!r}, the name of {len(found)}. Try an index: "
                f"{', '.join(map(str, found))}."
            )
        close = [name for name in names if wanted in name.lower()]
        close = close or difflib.get_close_matches(wanted, [name.lower() for name in names], n=3)
        raise OptionError(f"Expected a class name, got {target!r}. Try {', '.join(close[:5]) or ', '.join(names[:5])}.")
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < max(classes, 1):
        raise OptionError(
            f"Expected target to be a class index from 0 to {classes - 1}, a class's name, 'clicked' or None; "
            f"got {with_type(target)}."
        )
    return target
