"""A lock on the folder for results: two servers would overwrite each other's files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from interactify.errors import OptionError
from interactify.export import prepare_folder

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

LOCK: Final = ".lock"


@contextmanager
def folder_lock(folder: Path, address: str) -> Iterator[None]:
    """Lock a folder while this process lives, and leave the server's address there for the next process.

    Raises:
        OptionError: another process has the lock, or the folder can't be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, folder_lock(Path(folder), "http://127.0.0.1:8347/"):
    ...     Path(folder, LOCK).read_text()
    'http://127.0.0.1:8347/'
    """
    handle = os.open(prepare_folder(folder) / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as cause:
                other = os.read(handle, 200).decode(errors="replace")
                raise OptionError(
                    f"Expected a folder that no other server uses, got {folder}, which the server at {other} uses. "
                    "Try that address, or name another folder: --out."
                ) from cause
            except OSError:  # a file system without locks
                pass
        os.truncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, address.encode())
        yield
    finally:
        os.close(handle)
