"""A session as a file: clicks, variables and fingerprints in an .npz, no pickle, and exactly where one left off."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interactify.errors import CheckpointError, InteractifyError, OptionError, shown
from interactify.fingerprints import tensors_digest
from interactify.objects import check_name
from interactify.picture import PictureLike, open_picture
from interactify.session import Session
from interactify.step_file import described as _described
from interactify.step_file import read_step
from interactify.timeline import Board, Step, Steps, Timeline, Track
from interactify.whole_file import write_whole
from interactify.wrap import Interactive

FORMAT = 3


def save_session(session: Session, path: str | Path) -> Path:
    """Write a session; see `Session.save`."""
    net, scene, timeline = session.net, session.scene, session.timeline
    arrays: dict[str, np.ndarray] = {}
    steps: list[dict[str, Any]] = []
    places: dict[int, int] = {}  # of steps, by identity: boards share them
    for track in (track for board in timeline.boards for track in board.tracks):
        before: Step | None = None
        for step in track.steps:
            if id(step) not in places:
                place = places[id(step)] = len(steps)
                arrays[f"{place}_values"] = step.values.cpu().numpy()
                arrays[f"{place}_odds"] = step.odds.cpu().numpy()
                if step.given is not None:
                    arrays[f"{place}_given"] = np.packbits(step.given)
                after = None if before is None else places[id(before)]
                steps.append({"after": after, "target": track.target, **_described(step)})
            before = step
    header = {"format": FORMAT, "settings": settings_of(session), "photo": scene.picture.digest()}
    header |= {"network": fingerprint(net.unwrap()), "steps": steps}
    header |= {"boards": [_board(board, places) for board in timeline.boards], "now": len(timeline.past)}
    # Weights do not tell ReLU from softplus; what the network says of this photo does.
    arrays["plain"] = session.scene.begun(session.target).result.logits.cpu().numpy()
    buffer = io.BytesIO()
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return write_whole(path, buffer.getvalue())


def _board(board: Board, places: dict[int, int]) -> dict[str, Any]:
    """Of each object its last step, null where nothing was said of it; and which object is spoken of."""
    tracks = [
        {"name": t.name, "target": t.target, "last": places[id(t.steps[-1])] if t.steps else None} for t in board.tracks
    ]
    return {"objects": tracks, "active": board.active}


def load_session(path: str | Path, net: Interactive, photo: PictureLike) -> Session:
    """Go on from a saved session: the next click gives the very mask it would have given then.

    Args:
        path: the file that `Session.save` wrote.
        net: the same network, wrapped the same way.
        photo: the same photo.

    Raises:
        CheckpointError: the file is missing, broken or of another kind, or was saved for another network, other
            options, or another photo.
        OptionError: what is given is no wrapped network.
        PhotoError: the photo can't be read.
    """
    if not isinstance(net, Interactive):
        raise OptionError(f"Expected a wrapped network, got {type(net).__name__}. Try interactify.wrap(model).")
    header, arrays = _read(path)
    picture = open_picture(photo, net.spec.channels)
    if header["photo"] != picture.digest():
        raise CheckpointError(f"{path} was saved for another photo. Give the photo it was made on, unchanged.")
    if header["network"] != fingerprint(net.unwrap()):
        raise CheckpointError(f"{path} was saved for a network with other weights. Load those, then the session.")
    try:
        settings = header["settings"]
        session = Session(net, picture, _target(settings), tile=settings.get("tile", False))
        here = settings_of(session)
        other = [f"{k}: {header['settings'].get(k)!r}, here {v!r}" for k, v in here.items() if _differs(header, k, v)]
        if other:
            raise CheckpointError(f"{path} was saved under other options ({'; '.join(other)}). Wrap with those.")
        own, saved = session.first.result.logits.cpu(), torch.from_numpy(arrays["plain"])
        if own.shape != saved.shape or not torch.allclose(own.float(), saved.float(), rtol=1e-2, atol=1e-2):
            raise CheckpointError(
                f"{path} was saved for a network that answers otherwise on this photo. Wrap that one."
            )
        session.restore(_timeline(session, header, arrays))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, InteractifyError) as cause:
        raise CheckpointError(f"{path} is not a whole session ({cause}). Load an older copy.") from cause
    return session


def _target(settings: dict[str, Any]) -> Any:
    """The session's; None, the class under the first click, also where the network was wrapped for one class."""
    target = settings.get("target")
    return "clicked" if target is None else target


def _timeline(session: Session, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Timeline:
    """The history that is stored, its steps those of this session's photo and network."""
    reached: list[Steps] = []  # of each step, the steps that it is the last of
    targets: list[int | None] = []
    for place, stored in enumerate(header["steps"]):
        target = session.net.network.target(stored["target"])
        before = _of(reached, stored["after"])
        if before and targets[int(stored["after"])] != target:
            raise ValueError("a step of another class than the one before it")
        targets.append(target)
        reached.append((*before, read_step(session.scene, target, before, stored, arrays, str(place))))
    boards = []
    for stored in header["boards"]:
        tracks: list[Track] = []
        for entry in stored["objects"]:
            target, last = session.net.network.target(entry["target"]), entry["last"]
            if last is not None and targets[int(last)] != target:
                raise ValueError("an object of another class than its steps")
            check_name(entry["name"], [track.name for track in tracks])
            tracks.append(Track(entry["name"], target, _of(reached, last)))
        boards.append(Board(tuple(tracks), _index(stored["active"], len(tracks))))
    now = _index(header["now"], len(boards))
    return Timeline(boards[now], tuple(boards[:now]), tuple(reversed(boards[now + 1 :])))


def _of(reached: list[Steps], last: object) -> Steps:
    """The steps that end with one, by its place; None is before anything was said."""
    return () if last is None else reached[_index(last, len(reached))]


def _index(value: object, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(f"there is no {value!r} of {count}")
    return value


def _differs(header: dict[str, Any], key: str, value: Any) -> bool:
    return key not in header["settings"] or header["settings"][key] != value


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        path = Path(path)
        if path.exists() and not path.is_file():
            raise OSError("it is no file")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes().decode())
        version = header["format"]
        for key, kind in (("settings", dict), ("photo", str), ("network", str), ("steps", list), ("boards", list)):
            if not isinstance(header[key], kind):
                raise TypeError(f"{key} is no {kind.__name__}")
    except FileNotFoundError:
        raise CheckpointError(f"There is no session file {path}.") from None
    except Exception as cause:  # zip, zlib, NumPy's header parser and JSON each have their own ways to break
        raise CheckpointError(
            f"{path if isinstance(path, Path) else shown(path)} is not a session saved by interactify "
            f"({type(cause).__name__}: {cause})."
        ) from None
    if version != FORMAT:
        raise CheckpointError(
            f"{path} has format {version!r}; this version reads {FORMAT}. Use the version that wrote it."
        )
    return header, arrays


def settings_of(session: Session) -> dict[str, Any]:
    """What decides how clicks become masks, beside network and photo; compared on loading."""
    net, view = session.net, session.scene.home.view
    return {
        "variables": repr(net.variables),
        "energy": repr(net.energy),
        "solver": net.solver,
        "zoom": net.zoom,
        "mirror": net.options["mirror"],
        "propagation": repr(net.propagation),
        "max_evaluations": net.max_evaluations,
        "target": session.target,
        "tile": session.scene.tile,
        "view": [list(size) for size in (view.photo_size, view.content_size, view.network_size)],
        "mean": list(net.spec.mean),
        "std": list(net.spec.std),
        "output": net.spec.output.name,
    }


def fingerprint(model: nn.Module) -> str:
    """A digest of all of a network's weights and buffers."""
    return tensors_digest([tensor for _, tensor in sorted(model.state_dict().items()) if isinstance(tensor, Tensor)])
