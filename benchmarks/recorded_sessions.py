"""Sessions are played and everything they give is recorded, so that a later run shows whether anything changed.

`python -m benchmarks.recorded_sessions record DIR` plays the sessions of `recorded_*.py`
and writes what they gave; `python -m benchmarks.recorded_sessions compare DIR` plays them again and compares every
value to the last bit. It ends with 1, and a list of what differs, where anything does. `--only TEXT` takes the sessions
whose names contain the text, `--without TEXT` leaves those out.

A recording is a folder with an .npz for each session. It belongs to one machine and one set of installed versions:
others round differently. Wall time is never recorded.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

import interactify
from benchmarks import recorded_calls, recorded_cases, recorded_histories  # noqa: F401 - they add the sessions to CASES
from benchmarks.recorded_photos import CASES, Case

Values = dict[str, NDArray[Any]]
ENVIRONMENT = "environment.json"
VOLATILE = ("seconds",)  # keys of a saved session's header that hold wall time
SHOWN = 60  # differences that are listed one by one


class Recording:
    """The values that one session gave, in order; `folder` is empty, for files that the session writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values: Values = {}
        self._steps = 0

    def keep(self, step: str, **values: Any) -> None:
        """Keep some values of a step: arrays, tensors, numbers, text, bytes, or anything that JSON knows."""
        self._steps += 1
        for name, value in values.items():
            self.values[f"{self._steps:02} {step}/{name}"] = as_array(value)

    def result(self, step: str, result: interactify.Result) -> None:
        """Keep a result: mask, probability, and what is known of its interactions."""
        box, window = result.changed_box, result.window
        self.keep(
            step,
            size=result.mask.shape,
            mask=np.packbits(result.mask),
            probability=result.probability,
            evaluations=result.evaluations,
            satisfied=result.satisfied,
            status=str(getattr(result.status, "value", result.status)),
            interactions=[each.to_json() for each in result.interactions],
            overruled=[each.to_json() for each in result.overruled],
            unsatisfied=[each.probability for each in result.unsatisfied],
            changed=np.packbits(result.changed),
            changed_box=None if box is None else [box.top, box.left, box.height, box.width],
            window=[window.top, window.left, window.height, window.width],
        )

    def file(self, step: str, path: str | Path) -> None:
        """Keep a file's bytes."""
        self.keep(step, name=Path(path).name, bytes=Path(path).read_bytes())

    def saved(self, step: str, path: str | Path) -> None:
        """Keep what a saved session holds: every array, and the header without wall times."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        settings = {f"setting {name}": value for name, value in header.pop("settings").items()}
        self.keep(
            step, **arrays, **{f"header {name}": without_times(each) for name, each in header.items()}, **settings
        )


def as_array(value: Any) -> NDArray[Any]:
    """A value as an array that can be stored without pickle; text as 0-d arrays of text."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.view(torch.uint8) if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if isinstance(value, bytes):
        return np.frombuffer(value, np.uint8)
    return np.array(value if isinstance(value, str) else json.dumps(value, sort_keys=True))


def without_times(value: Any) -> Any:
    """JSON without the keys that hold wall times."""
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in VOLATILE}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def played(case: Case) -> Values:
    """Play one session with one thread and a fixed random state; returns everything it gave."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder))
        case(recording)
    return recording.values


@dataclass(frozen=True)
class Difference:
    """A value that is not what was recorded; no `step` where the whole session can't be compared."""

    session: str
    step: str
    what: str

    def __str__(self) -> str:
        return f"{self.session}: {self.step}: {self.what}" if self.step else f"{self.session}: {self.what}"


def differences(session: str, before: Values, now: Values) -> list[Difference]:
    """Every value that differs in type, shape or any bit, is missing, or is new."""
    found = []
    for step in dict.fromkeys((*before, *now)):
        if step not in now:
            found.append(Difference(session, step, "was recorded, and is missing now"))
        elif step not in before:
            found.append(Difference(session, step, "is new"))
        elif what := difference(before[step], now[step]):
            found.append(Difference(session, step, what))
    return found


def difference(before: NDArray[Any], now: NDArray[Any]) -> str:
    """How two values differ, as text; empty where they are equal to the last bit."""
    if before.dtype.kind == now.dtype.kind == "U" and before.ndim == now.ndim == 0:
        return _text_difference(str(before), str(now))
    if before.dtype != now.dtype or before.shape != now.shape:
        return f"{before.dtype}{list(before.shape)} was recorded, {now.dtype}{list(now.shape)} came"
    if before.tobytes() == now.tobytes():
        return ""
    bits = [each.reshape(-1).view(np.uint8).reshape(each.size, -1) for each in (before, now)]
    count = int((bits[0] != bits[1]).any(1).sum())
    if before.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            gaps = np.abs(before.astype(np.float64) - now)
        largest = gaps[~np.isnan(gaps)].max(initial=0)
        return f"{count} of {before.size} numbers differ, by {largest:.3g} at most"
    if before.dtype == np.uint8:
        return f"{int(np.unpackbits(before ^ now).sum())} of {8 * before.size} bits differ"
    return f"{count} of {before.size} numbers differ"


def _text_difference(before: str, now: str) -> str:
    if before == now:
        return ""
    place = next(k for k, (one, other) in enumerate(zip_longest(before, now)) if one != other)
    part = slice(max(0, place - 20), place + 40)
    return f"{before[part]!r} was recorded, {now[part]!r} came (from character {part.start} on)"


def environment() -> dict[str, str]:
    """What the last bits depend on beside the library itself."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["instructions"] = torch.backends.cpu.get_cpu_capability()
    for name in ("torch", "torchvision", "numpy", "scipy", "pillow", "segmentation-models-pytorch", "timm"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def file_of(folder: Path, session: str) -> Path:
    """The file of a session in a recording."""
    return folder / f"{re.sub('[^a-z0-9]+', '-', session.lower()).strip('-')}.npz"


def record(folder: Path, sessions: Sequence[str], progress: bool = True) -> int:
    """Play the sessions and write what they gave; returns the number of values."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for session in _with_progress(sessions, progress):
        values = played(CASES[session])
        with file_of(folder, session).open("wb") as file:
            np.savez_compressed(file, **values)  # type: ignore[arg-type]
        count += len(values)
    (folder / ENVIRONMENT).write_text(json.dumps(environment(), indent=1) + "\n")
    return count


def compare(folder: Path, sessions: Sequence[str], progress: bool = True) -> tuple[int, list[Difference]]:
    """Play the sessions again; returns the number of values that are equal, and all that differ."""
    equal, found = 0, []
    for session in _with_progress(sessions, progress):
        path = file_of(folder, session)
        if not path.exists():
            found.append(Difference(session, "", "is not in the recording"))
            continue
        with np.load(path, allow_pickle=False) as file:
            before = {step: file[step] for step in file.files}
        try:
            now = played(CASES[session])
        except Exception as cause:  # the other sessions are compared all the same
            place = traceback.extract_tb(cause.__traceback__)[-1]
            what = f"raised {type(cause).__name__}: {cause} ({Path(place.filename).name}, line {place.lineno})"
            found.append(Difference(session, "", what))
            continue
        own = differences(session, before, now)
        found += own
        equal += len(set(before) & set(now)) - sum(each.step in before and each.step in now for each in own)
    return equal, found


def _with_progress(sessions: Sequence[str], progress: bool) -> Iterable[str]:
    bar = tqdm(sessions, unit="session", disable=not progress, file=sys.stderr)
    for session in bar:
        bar.set_description(f"{session[:32]:32}")
        yield session


def _report(equal: int, found: Sequence[Difference], count: int) -> None:
    if not found:
        print(f"{count} sessions, {equal} values equal")
        return
    for each in found[:SHOWN]:
        print(each)
    if len(found) > SHOWN:
        print(f"… and {len(found) - SHOWN} more")
    differing = dict.fromkeys(each.session for each in found)
    print(f"{count} sessions, {equal} values equal, {len(found)} different in {len(differing)} sessions:")
    for session in differing:
        print(f"  {session}: {sum(each.session == session for each in found)}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--only", metavar="TEXT", default="", help="sessions whose names contain this")
    parser.add_argument("--without", metavar="TEXT", help="leave out sessions whose names contain this")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    sessions = [name for name in CASES if given.only in name]
    sessions = [name for name in sessions if given.without is None or given.without not in name]
    if not sessions:
        parser.error(f"no session's name contains {given.only!r}")
    threads = torch.get_num_threads()
    try:
        if given.action == "record":
            count = record(given.folder, sessions, not given.quiet)
            print(f"{len(sessions)} sessions, {count} values recorded in {given.folder}")
            return 0
        if not (given.folder / ENVIRONMENT).is_file():
            parser.error(f"there is no recording in {given.folder}")
        if (before := json.loads((given.folder / ENVIRONMENT).read_text())) != (now := environment()):
            print(f"note: recorded with {before}, compared with {now}: last bits may differ for that alone")
        equal, found = compare(given.folder, sessions, not given.quiet)
        _report(equal, found, len(sessions))
        return 1 if found else 0
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    sys.exit(main())
