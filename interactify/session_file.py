"""A session as a file: clicks, variables and fingerprints in an .npz, no pickle, and exactly where one left off."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from interactify.errors import CheckpointError, InteractifyError
from interactify.fingerprints import tensors_digest
from interactify.interactions import Click, checked
from interactify.photo import PhotoLike, read_photo
from interactify.request import later_wins
from interactify.result import Result
from interactify.session import Session
from interactify.timeline import State, Step, Timeline, outside_of
from interactify.whole_file import write_whole
from interactify.window import Window

if TYPE_CHECKING:
    from interactify.wrap import Interactive

FORMAT = 2


def save_session(session: Session, path: str | Path) -> Path:
    """Write a session; see `Session.save`."""
    net = session.net
    arrays: dict[str, np.ndarray] = {}
    steps: list[dict[str, Any]] = []
    places: dict[int, int] = {}  # of steps, by identity: states share them
    timeline = session.timeline
    for state in timeline.states:
        for before, step in zip((session.first, *state), state, strict=False):
            if id(step) not in places:
                place = places[id(step)] = len(steps)
                arrays[f"{place}_values"] = step.values.cpu().numpy()
                arrays[f"{place}_logits"] = step.result.logits.cpu().numpy()
                steps.append({"after": places.get(id(before)), **_described(step)})
    header = {"format": FORMAT, "settings": _settings(session), "photo": tensors_digest([session.pixels])}
    header |= {"network": fingerprint(net.unwrap()), "steps": steps}
    # In time: of each state its last step, null where nothing was clicked; and which of them holds.
    header |= {"states": [places[id(state[-1])] if state else None for state in timeline.states]}
    header |= {"now": len(timeline.past)}
    # Weights do not tell ReLU from softplus; what the network says of this photo does.
    arrays["plain"] = session.first.result.logits.cpu().numpy()
    buffer = io.BytesIO()
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return write_whole(path, buffer.getvalue())


def load_session(path: str | Path, net: Interactive, photo: PhotoLike) -> Session:
    """Go on from a saved session: the next click gives the very mask it would have given then.

    Args:
        path: the file that `Session.save` wrote.
        net: the same network, wrapped the same way.
        photo: the same photo.

    Raises:
        CheckpointError: the file is missing, broken or of another kind, or was saved for another network, other
            options, or another photo.
        PhotoError: the photo can't be read.
    """
    header, arrays = _read(Path(path))
    pixels = read_photo(photo, net.spec.channels)
    if header["photo"] != tensors_digest([pixels]):
        raise CheckpointError(f"{path} was saved for another photo. Give the photo it was made on, unchanged.")
    if header["network"] != fingerprint(net.unwrap()):
        raise CheckpointError(f"{path} was saved for a network with other weights. Load those, then the session.")
    try:
        session = Session(net, pixels, header["settings"].get("target"))
        here = _settings(session)
        other = [f"{k}: {header['settings'].get(k)!r}, here {v!r}" for k, v in here.items() if _differs(header, k, v)]
        if other:
            raise CheckpointError(f"{path} was saved under other options ({'; '.join(other)}). Wrap with those.")
        own, saved = session.first.result.logits.cpu(), torch.from_numpy(arrays["plain"])
        if own.shape != saved.shape or not torch.allclose(own.float(), saved.float(), rtol=1e-2, atol=1e-2):
            raise CheckpointError(
                f"{path} was saved for a network that answers otherwise on this photo. Wrap that one."
            )
        reached: list[State] = []  # of each step, the state that it is the last of
        for place, stored in enumerate(header["steps"]):
            before = _of(reached, stored["after"])
            reached.append((*before, _step(session, before, stored, arrays, str(place))))
        states = tuple(_of(reached, last) for last in header["states"])
        now = header["now"]
        if isinstance(now, bool) or not isinstance(now, int) or not 0 <= now < len(states):
            raise ValueError("no state that holds")
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, InteractifyError) as cause:
        raise CheckpointError(f"{path} is not a whole session ({cause}). Load an older copy.") from cause
    session.restore(Timeline(states[now], states[:now], tuple(reversed(states[now + 1 :]))))
    return session


def _of(reached: list[State], last: object) -> State:
    """The state that ends with a step, by its place; None is the state before the first click."""
    if last is None:
        return ()
    if isinstance(last, bool) or not isinstance(last, int) or not 0 <= last < len(reached):
        raise ValueError(f"there is no step {last!r}")
    return reached[last]


def _differs(header: dict[str, Any], key: str, value: Any) -> bool:
    return key not in header["settings"] or header["settings"][key] != value


def _described(step: Step) -> dict[str, Any]:
    result = step.result
    return {
        "window": [result.window.top, result.window.left, result.window.height, result.window.width],
        "clicks": [click.to_json() for click in step.clicks],
        "holding": [click.to_json() for click in result.clicks],
        "overruled": [click.to_json() for click in result.overruled],
        "evaluations": result.evaluations,
        "status": result.status,
        "seconds": result.seconds,
    }


def _step(session: Session, before: State, stored: dict[str, Any], arrays: dict[str, np.ndarray], key: str) -> Step:
    last = before[-1] if before else session.first
    clicks = tuple(checked(Click.from_json(entry), session.size) for entry in stored["clicks"])
    holding, overruled = later_wins(clicks)
    told = [[Click.from_json(entry) for entry in stored[name]] for name in ("holding", "overruled")]
    if told != [list(holding), list(overruled)] or clicks[: len(last.clicks)] != last.clicks:
        raise ValueError("clicks that contradict each other")
    window = Window(*(int(side) for side in stored["window"]))
    frame = last.frame if window == last.frame.window else session.frame(window)
    values, kept = arrays[f"{key}_values"], arrays[f"{key}_logits"]
    if values.shape != tuple(frame.start.shape) or kept.shape != (1, 1, *frame.view.network_size):
        raise ValueError(f"{key} has another shape than this network's variables")
    if not (np.isfinite(values).all() and np.isfinite(kept).all()):
        raise ValueError(f"{key} holds numbers that are none")
    result = Result(
        torch.from_numpy(kept).to(session.first.result.logits),
        frame.view,
        window,
        outside_of(last, window, session.first),
        holding,
        overruled,
        int(stored["evaluations"]),
        str(stored["status"]),
        float(stored["seconds"]),
        last.result.mask,
    )
    return Step(clicks, frame, torch.from_numpy(values).to(frame.start), result)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes().decode())
        version = header["format"]
        for key, kind in (("settings", dict), ("photo", str), ("network", str), ("steps", list), ("states", list)):
            if not isinstance(header[key], kind):
                raise TypeError(f"{key} is no {kind.__name__}")
    except FileNotFoundError:
        raise CheckpointError(f"There is no session file {path}.") from None
    except Exception as cause:  # zip, zlib, NumPy's header parser and JSON each have their own ways to break
        raise CheckpointError(
            f"{path} is not a session saved by interactify ({type(cause).__name__}: {cause})."
        ) from None
    if version != FORMAT:
        raise CheckpointError(
            f"{path} has format {version!r}; this version reads {FORMAT}. Use the version that wrote it."
        )
    return header, arrays


def _settings(session: Session) -> dict[str, Any]:
    """What decides how clicks become masks, beside network and photo; compared on loading."""
    net, view = session.net, session.first.frame.view
    return {
        "variables": repr(net.variables),
        "energy": repr(net.energy),
        "solver": net.solver,
        "zoom": net.zoom,
        "propagation": repr(net.propagation),
        "max_evaluations": net.max_evaluations,
        "target": session.target,
        "view": [list(size) for size in (view.photo_size, view.content_size, view.network_size)],
        "mean": list(net.spec.mean),
        "std": list(net.spec.std),
        "output": net.spec.output.name,
    }


def fingerprint(model: nn.Module) -> str:
    """A digest of all of a network's weights and buffers."""
    return tensors_digest([tensor for _, tensor in sorted(model.state_dict().items()) if isinstance(tensor, Tensor)])
