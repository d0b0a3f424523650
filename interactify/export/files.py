"""Where files go: a folder that can be written to, files that are written whole or not at all, JSON as it is kept here.

Whoever reads a file that `write_whole` writes sees the old one or the new one, never half of one. What is not yet whole
lies beside it under a name of its own, `.NAME.XXXXXXXX.unfinished`, and is locked while its writer lives. What nobody
holds was left by a process that was killed; the next that writes the same file clears it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from interactify.errors import OptionError, shown

try:
    import fcntl
except ImportError:  # Windows, where nothing tells what was left from what is being written: it stays
    fcntl = None  # type: ignore[assignment]

_ENDING = ".unfinished"


def prepare_folder(path: str | os.PathLike[str]) -> Path:
    """Make sure that files can be written to a folder, before any work is done for them.

    Args:
        path: the folder; it and the folders above it are created where missing.

    Returns:
        The folder's path.

    Raises:
        OptionError: where it can't be created, is a file, or can't be written to.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prepare_folder(Path(folder, "new", "out")).name
    'out'
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Only writing tells: permission bits don't know of read-only and full disks.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise OptionError(f"Can't write to {folder} ({reason}). Name a folder that you may write to.") from cause
    return folder


def write_json(path: str | os.PathLike[str], value: Mapping[str, Any]) -> Path:
    """Write JSON on one line, as programs read it; the file is replaced whole.

    Raises:
        OptionError: something in it has no place in JSON (NaN and infinity have none), or the file can't be written.
    """
    try:
        # ASCII, since pycocotools and others read files in whatever encoding their system has.
        text = json.dumps(value, allow_nan=False, ensure_ascii=True)
    except (TypeError, ValueError) as cause:
        raise OptionError(f"Can't be written as JSON: {cause}.") from cause
    return write_whole(Path(path), f"{text}\n".encode("ascii"))


def plain_numbers(values: np.ndarray) -> list[Any]:
    """Nested lists of an array's numbers, as integers where all of them are whole: half the text, and as exact."""
    whole = np.asarray(values, np.float64)
    return whole.astype(np.int64).tolist() if (whole == np.rint(whole)).all() else whole.tolist()


def safe_file_name(text: str, fallback: str, *, keep: str | None = "-_", max_bytes: int = 120) -> str:
    """Text as part of a file name that every system accepts: other characters become "-".

    Args:
        text: any text, an object's name for instance.
        fallback: the name where nothing of `text` is left.
        keep: what is kept beside letters and digits; None keeps every printable character that no system forbids.
        max_bytes: the name is cut to this length in UTF-8.

    >>> safe_file_name("red door/../x", "object"), safe_file_name("../..", "object")
    ('red-door----x', 'object')
    >>> safe_file_name('photo 1 "b"?', "photo", keep=None)
    'photo 1 -b'
    """

    def allowed(character: str) -> bool:
        if keep is None:  # surrogates, which stand for bytes of a file's name that are no text, are not printable
            return character.isprintable() and character not in '\ufffd/\\:*?"<>|'
        return character.isalnum() or character in keep

    safe = "".join(each if allowed(each) else "-" for each in text)
    return safe.encode()[:max_bytes].decode(errors="ignore").strip(" .-") or fallback


def write_whole(path: str | Path, content: bytes) -> Path:
    """Put `content` at `path`, replacing what was there in one step; the content is on the disk before its name is.

    Raises:
        OptionError: where the folder can't be written to, what is there is no file, or the path is none.
    """
    try:
        path = Path(path)
        if path.exists() and not path.is_file():
            raise OptionError(f"Can't write to {path}: what is there is no file. Name one, or what is not there yet.")
        handle, unfinished = _begun(path)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(unfinished, 0o666 & ~_umask())
                if fcntl is not None:  # while it is held, so that nobody takes it for left
                    os.replace(unfinished, path)
            if fcntl is None:  # Windows moves no file that is open
                os.replace(unfinished, path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        _clear(path)
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise OptionError(f"Can't write to {path} ({reason}). Name a folder that you may write to.") from cause
    except OptionError:
        raise
    except Exception as cause:  # what an object does when it is asked for a path, and characters that none has
        raise OptionError(f"Expected a path to write to, got {shown(path)}.") from cause
    return path


def _begun(path: Path) -> tuple[int, str]:
    """A new file beside the path, open and held; closing it lets go of it, and so does being killed."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_ENDING, dir=path.parent)
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks, where nobody clears either
                fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):
            return handle, name
        os.close(handle)  # another writer came before it was held, and cleared it


def _clear(path: Path) -> None:
    """Take away what writers of this file left that were killed."""
    if fcntl is None:
        return
    left = re.compile(re.escape(f".{path.name}.") + "[a-z0-9_]{8}" + re.escape(_ENDING))
    with suppress(OSError):
        for name in filter(left.fullmatch, os.listdir(path.parent)):
            with suppress(OSError):  # held by one that lives, or gone by now
                handle = os.open(path.parent / name, os.O_RDWR | os.O_NONBLOCK)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path.parent / name)
                finally:
                    os.close(handle)


def _umask() -> int:
    # Reading the mask means setting it; on Linux the kernel tells it without.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0o022
    return next((int(line.split()[1], 8) for line in status.splitlines() if line.startswith("Umask")), 0o022)
