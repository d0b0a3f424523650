"""How files are written: folders that are checked first, files that are written whole or not at all, and JSON.

A reader of a file written by `write_whole` gets the old content or the new one, never a part. Unfinished content is in
a file beside it, `.NAME.XXXXXXXX.unfinished`, which is locked while its writer runs. An unlocked one was left by a
killed process; the next writer of the same file removes it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from interactify.errors import OptionError, text_of, with_type

try:
    import fcntl
except ImportError:  # Windows, where an abandoned file can't be told from one being written: it stays
    fcntl = None  # type: ignore[assignment]

_ENDING = ".unfinished"


def prepare_folder(path: str | os.PathLike[str]) -> Path:
    """Make sure that files can be written to a folder, before any work is done for them.

    Args:
        path: the folder; it and the folders above it are created where missing.

    Returns:
        The folder's path.

    Raises:
        OptionError: it can't be created, is a file, or can't be written to.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prepare_folder(Path(folder, "new", "out")).name
    'out'
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Only writing shows whether it works: permission bits ignore read-only and full disks.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise OptionError(f"Can't write to {folder} ({reason}). Name a folder that you may write to.") from cause
    return folder


# Formats that readers tell by the ending of a file's name: content of another one would be taken for damaged.
_ENDINGS: Final = frozenset(
    (
        *(".avif", ".bmp", ".csv", ".geojson", ".gif", ".heic", ".jp2", ".jpeg", ".jpg", ".json", ".nii", ".npy"),
        *(".npz", ".pdf", ".png", ".svg", ".tif", ".tiff", ".txt", ".webp"),
    )
)


def check_ending(path: str | os.PathLike[str], ending: str) -> None:
    """Refuse a path whose name ends as files of another format do; any other name is accepted.

    Raises:
        OptionError: it does; the error names the path with the right ending.

    >>> check_ending("cup.png", ".png"), check_ending("cup.of.tea", ".png")
    (None, None)
    """
    try:
        named = Path(path)
        other = named.suffix.lower() in _ENDINGS - {ending}
    except Exception:  # no path: writing refuses it
        return
    if other:
        raise OptionError(
            f"Expected a file's name that ends in {ending}, which is what is written, got "
            f"{text_of(named.name)}. Try {text_of(named.with_suffix(ending).name)}."
        )


def write_json(path: str | os.PathLike[str], value: Mapping[str, Any]) -> Path:
    """Write JSON on one line; the file is replaced whole.

    Raises:
        OptionError: JSON has no form for a value (such as NaN and infinity), or the file can't be written.
    """
    try:
        # ASCII, since pycocotools and others read files in the encoding of their system.
        text = json.dumps(value, allow_nan=False, ensure_ascii=True)
    except (TypeError, ValueError) as cause:
        raise OptionError(
            f"Expected values that JSON can hold, got others: {cause}. Try strings and finite numbers."
        ) from cause
    return write_whole(Path(path), f"{text}\n".encode("ascii"))


def plain_numbers(values: np.ndarray) -> list[Any]:
    """An array's numbers as nested lists, as integers where all are whole: half the text, and as exact."""
    numbers = np.asarray(values, np.float64)
    return numbers.astype(np.int64).tolist() if (numbers == np.rint(numbers)).all() else numbers.tolist()


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


def write_whole(path: str | Path, content: bytes, *, private: bool = False) -> Path:
    """Write `content` to `path`, replacing an existing file in one step; the content is on the disk before the name is.

    A `private` file can be read by its owner alone, as the unfinished one beside it.

    Raises:
        OptionError: the folder can't be written to, `path` is a folder or another non-file, or it is no valid path.
    """
    try:
        path = Path(path)
        if path.exists() and not path.is_file():
            raise OptionError(f"Expected a file or a new path, got {path}, which is neither. Try a file's name in it.")
        handle, unfinished = _unfinished_file(path)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                if not private:
                    os.chmod(unfinished, 0o666 & ~_umask())
                if fcntl is not None:  # while it is locked, so that no other writer takes it for abandoned
                    os.replace(unfinished, path)
            if fcntl is None:  # Windows moves no open file
                os.replace(unfinished, path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        _remove_abandoned(path)
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise OptionError(f"Can't write to {path} ({reason}). Name a folder that you may write to.") from cause
    except OptionError:
        raise
    except Exception as cause:  # any object may come as a path, and its own code decides what it raises
        raise OptionError(f"Expected a path to write to, got {with_type(path)}. Try a file's name as text.") from cause
    return path


def _unfinished_file(path: Path) -> tuple[int, str]:
    """A new file beside the path, open and locked; closing it unlocks it, and so does the process's end."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{_cut(path.name)}.", suffix=_ENDING, dir=path.parent)
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks, where nothing is removed either
                fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):
            return handle, name
        os.close(handle)  # another writer removed it before it was locked


def _cut(name: str) -> str:
    """A file's name, cut where the name of its unfinished file would be longer than file systems take."""
    return name.encode(errors="surrogateescape")[:220].decode(errors="ignore")


def _remove_abandoned(path: Path) -> None:
    """Remove the unfinished files of writers of `path` that were killed."""
    if fcntl is None:
        return
    pattern = re.compile(re.escape(f".{_cut(path.name)}.") + "[a-z0-9_]{8}" + re.escape(_ENDING))
    with suppress(OSError):
        for name in filter(pattern.fullmatch, os.listdir(path.parent)):
            with suppress(OSError):  # locked by a running writer, or removed in the meantime
                handle = os.open(path.parent / name, os.O_RDWR | os.O_NONBLOCK)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path.parent / name)
                finally:
                    os.close(handle)


def _umask() -> int:
    # The process can't read its mask without setting it; on Linux the kernel shows it.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0o022
    return next((int(line.split()[1], 8) for line in status.splitlines() if line.startswith("Umask")), 0o022)
