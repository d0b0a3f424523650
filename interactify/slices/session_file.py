"""A session over slices as an .npz file of interactions, masks and digests, without pickle, from which it continues.

Format 1: "header" is JSON, with the options, digests of volume and network, and lists of all answers, corrected slices,
carried slices and results of the history, each of which names others by their numbers. "masks" has all masks one after
the other, each compressed as `PackedMask` has it. "plain" is the network's own map of the middle slice, in half
precision: weights do not tell ReLU from softplus.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.errors import InteractifyError
from interactify.interactions.gestures import interaction_from_json
from interactify.optim.status import Status
from interactify.refinement.timeline import Timeline
from interactify.session.archive import write_archive
from interactify.session.session_file import fingerprint, settings_of
from interactify.slices.corrections import Answer, Carried, Corrected, PackedMask
from interactify.slices.refiner import SliceRefiner
from interactify.slices.result import SlicesResult

FORMAT: Final = 1
KIND: Final = "slices"
KEYS: Final = {
    **{"settings": dict, "volume": str, "network": str, "now": int, "masks": list},
    **dict.fromkeys(("answers", "corrected", "carried", "results"), list),
}


def save_slices(
    path: str | Path, history: Timeline[SlicesResult], refiner: SliceRefiner, target: int | None, reach: int
) -> Path:
    """Write a history to a file; see `SliceSession.save`."""
    refiner.net.check_unchanged(every_value=True)  # the file names the weights that its masks come from
    parts = _Parts()
    results = (*history.past, history.now, *reversed(history.undone))
    stored = [parts.result(each) for each in results]
    opened = refiner.photo(refiner.planes.count // 2)
    header = {
        "format": FORMAT,
        "kind": KIND,
        "settings": settings_of(refiner.net, opened, target) | {"axis": refiner.planes.axis, "reach": reach},
        "volume": refiner.planes.volume.digest(),
        "network": fingerprint(refiner.net.unwrap()),
        "masks": [len(each.data) for each in parts.masks],
        "answers": parts.answers,
        "corrected": parts.corrected,
        "carried": parts.carried,
        "results": stored,
        "now": len(history.past),
    }
    arrays: dict[str, Any] = {
        "masks": np.frombuffer(b"".join(each.data for each in parts.masks), np.uint8),
        "plain": opened.initial_step(target).result.logits.clamp(-6e4, 6e4).half().cpu().numpy(),
    }
    return write_archive(path, header, arrays)


class _Parts:
    """All parts of a history, each once: results share most of theirs."""

    def __init__(self) -> None:
        self.masks: list[PackedMask] = []
        self.answers: list[dict[str, Any]] = []
        self.corrected: list[dict[str, Any]] = []
        self.carried: list[dict[str, Any]] = []
        self._numbers: dict[int, int] = {}  # by id

    def result(self, result: SlicesResult) -> dict[str, Any]:
        return {
            "target": result.target,
            "slices": {str(index): self._corrected(each) for index, each in result.slices.items()},
            "carried": {str(index): self._carried(each) for index, each in result.carried.items()},
            "order": result.order,
            "waiting": sorted(result.waiting),
            "evaluations": result.evaluations,
            "status": result.status,
            "seconds": result.seconds,
        }

    def _corrected(self, each: Corrected) -> int:
        return self._number(each, self.corrected, lambda: {
            "target": each.target,
            "answers": [self._answer(answer) for answer in each.answers],
            "mask": self._mask(each.mask),
            "unsatisfied": [own.to_json() for own in each.unsatisfied],
        })  # fmt: skip

    def _carried(self, each: Carried) -> int:
        return self._number(each, self.carried, lambda: {
            "mask": self._mask(each.mask),
            "sources": each.sources,
            "agreement": each.agreement,
        })  # fmt: skip

    def _answer(self, each: Answer) -> int:
        return self._number(each, self.answers, lambda: {
            "interactions": [own.to_json() for own in each.interactions],
            "status": each.status,
            "evaluations": each.evaluations,
        })  # fmt: skip

    def _mask(self, mask: PackedMask) -> int:
        return self._number(mask, self.masks, lambda: mask)

    def _number(self, part: object, parts: list[Any], stored: Any) -> int:
        if id(part) not in self._numbers:
            own = stored()  # its own parts come first
            self._numbers[id(part)] = len(parts)
            parts.append(own)
        return self._numbers[id(part)]


def history_of(
    header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], refiner: SliceRefiner
) -> Timeline[SlicesResult]:
    """The history in a file. Raises ValueError and others where it can't be one of this volume and network."""
    size, network = refiner.planes.size, refiner.net.network
    content, masks = arrays["masks"].tobytes(), []
    for length in header["masks"]:
        masks.append(PackedMask(size, content[: int(length)]))
        _ = masks[-1].mask  # raises where it is none
        content = content[int(length) :]

    def checked(stored: list[Any]) -> tuple[Any, ...]:
        return tuple(network.checked(interaction_from_json(each), size) for each in stored)

    def of_slices(stored: Mapping[str, int], parts: list[Any]) -> dict[int, Any]:
        return {refiner.planes.checked(int(index)): _at(parts, number) for index, number in stored.items()}

    answers = [
        Answer(checked(each["interactions"]), Status.of(str(each["status"])), int(each["evaluations"]))
        for each in header["answers"]
    ]
    corrected = [
        Corrected(
            network.target(each["target"]),
            tuple(_at(answers, number) for number in each["answers"]),
            _at(masks, each["mask"]),
            checked(each["unsatisfied"]),
        )
        for each in header["corrected"]
    ]
    carried = [
        Carried(_at(masks, each["mask"]), tuple(int(own) for own in each["sources"]), float(each["agreement"]))
        for each in header["carried"]
    ]
    results: list[SlicesResult] = []
    for each in header["results"]:
        result = SlicesResult(
            refiner,
            network.target(each["target"]),
            of_slices(each["slices"], corrected),
            of_slices(each["carried"], carried),
            tuple(int(index) for index in each["order"]),
            frozenset(int(index) for index in each["waiting"]),
            int(each["evaluations"]),
            Status.of(str(each["status"])),
            float(each["seconds"]),
            results[-1] if results else None,
        )
        given = {index: sum(len(a.interactions) for a in state.answers) for index, state in result.slices.items()}
        if {index: result.order.count(index) for index in {*result.order}} != given or not result.waiting <= {*given}:
            raise ValueError(f"result {len(results)} has other interactions than its slices")
        results.append(result)
    now = range(len(results))[header["now"]]
    return Timeline(results[now], tuple(results[:now]), tuple(reversed(results[now + 1 :])))


def _at(parts: list[Any], number: Any) -> Any:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(parts):
        raise ValueError(f"there is no {number!r} of {len(parts)}")
    return parts[number]


BROKEN: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, InteractifyError, zlib.error)
"""What `history_of` raises for a file that is not whole."""
