"""One server for a folder: two would each write what the other has not heard of."""

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
except ImportError:  # Windows, where nobody is kept out
    fcntl = None  # type: ignore[assignment]

LOCK: Final = ".lock"


@contextmanager
def alone_in(folder: Path, address: str) -> Iterator[None]:
    """Hold a folder as long as this process lives, and leave the address there for whoever comes next.

    Raises:
        OptionError: another process holds it, or the folder can't be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, alone_in(Path(folder), "http://127.0.0.1:8347/"):
    ...     Path(folder, LOCK).read_text()
    'http://127.0.0.1:8347/'
    """
    handle = os.open(prepare_folder(folder) / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as cause:
                there = os.read(handle, 200).decode(errors="replace")
                raise OptionError(
                    f"{folder} is being worked in already, at {there}. Go on there, or name another folder: --out."
                ) from cause
            except OSError:  # a file system without locks
                pass
        os.truncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, address.encode())
        yield
    finally:
        os.close(handle)
