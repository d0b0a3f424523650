"""What all files of sessions share: an .npz of arrays with a "header" in JSON, and the checks when one is read."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import CheckpointError, with_type
from interactify.export.files import write_whole

Header = dict[str, Any]
Arrays = dict[str, np.ndarray]


def write_archive(path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a session's file whole, compressed as fast as possible: what is left of floats' bytes is mostly noise.

    Raises OptionError where it can't be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in {"header": np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays}.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            part = zipfile.ZipInfo(f"{name}.npy")  # without the time: the same session gives the same file
            part.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(part, content.getvalue(), compresslevel=1)
    return write_whole(path, buffer.getvalue())


def read_archive(
    path: str | Path, keys: Mapping[str, type], formats: Collection[int], kind: str | None = None
) -> tuple[Header, Arrays]:
    """The header and the arrays of a session's file.

    Args:
        path: of the file.
        keys: what the header has to have, and of which types.
        formats: those that can be read.
        kind: what the header says that the session is of; None for photos under a network of masks.

    Raises:
        CheckpointError: the file does not exist, is another one, or was written by another version.
    """
    try:
        path = Path(path)
        if path.exists() and not path.is_file():
            raise OSError("it is no file")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes().decode())
        version = header["format"]
        if header.get("kind") != kind:
            raise ValueError(f"it is of kind {header.get('kind')!r}, not {kind!r}")
        for key, of_type in keys.items():
            if not isinstance(header[key], of_type):
                raise TypeError(f"{key} is no {of_type.__name__}")
    except FileNotFoundError:
        raise CheckpointError(f"Expected a session file, got {path}, which does not exist. Try another path.") from None
    except Exception as cause:  # zip, zlib, NumPy's header parser and JSON each have their own errors
        given = path if isinstance(path, Path) else with_type(path)
        raise CheckpointError(
            f"Expected a session saved by interactify, got {given}, which is not one ({type(cause).__name__}: {cause})."
            " Try another file."
        ) from None
    if version not in formats:
        readable = " to ".join(map(str, sorted({min(formats), max(formats)})))
        raise CheckpointError(
            f"Expected a session file of format {readable}, got {path} of format {version!r}. Try the version of "
            "interactify that wrote it."
        )
    return header, arrays


def check_settings(path: str | Path, saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a session was saved under other options than those of now."""
    different = [
        f"{key}: {saved.get(key)!r}, got {value!r}"
        for key, value in current.items()
        if key not in saved or saved[key] != value
    ]
    if different:
        raise CheckpointError(
            f"Expected the options that {path} was saved under, {'; '.join(different)}. Try to wrap with those."
        )


def check_prediction(path: str | Path, own: Tensor, saved: np.ndarray, of: str) -> None:
    """Raise CheckpointError where the network's own map is not the saved one: weights do not tell ReLU from softplus.

    `of` is what the map is of, "photo" or "volume".
    """
    there = torch.from_numpy(saved).float()
    own = own.detach().float().cpu()
    if own.shape != there.shape or not torch.allclose(own, there, rtol=1e-2, atol=1e-2):
        raise CheckpointError(
            f"Expected the network that {path} was saved for, got one with the same weights that predicts something "
            f"else for this {of}. Try the same architecture and options."
        )


def as_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """(b, …) uint8: the first byte of all numbers, then the second …, which compresses better."""
    array = np.ascontiguousarray(tensor.detach().cpu().numpy())
    return np.moveaxis(array[..., None].view(np.uint8), -1, 0)


def from_bytes(stored: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """The inverse of `as_bytes`. Raises ValueError where it can't be one."""
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    if stored.dtype != np.uint8 or stored.ndim < 1 or len(stored) != kind.itemsize:
        raise ValueError(f"Expected {kind} as {kind.itemsize} bytes each, got {stored.dtype} {stored.shape}")
    return np.ascontiguousarray(np.moveaxis(stored, 0, -1)).view(kind)[..., 0]
