"""Writing a file whole or not at all: whoever reads it sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from interactify.errors import OptionError


def write_whole(path: str | Path, content: bytes) -> Path:
    """Put `content` at `path`, replacing what was there in one step; the content is on the disk before its name is.

    Raises:
        OptionError: where the folder can't be written to, or the path is a folder.
    """
    path = Path(path)
    try:
        handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".unfinished", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(unfinished, 0o666 & ~_umask())
            os.replace(unfinished, path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise OptionError(f"Can't write to {path} ({reason}). Name a folder that you may write to.") from cause
    return path


def _umask() -> int:
    # Reading the mask means setting it; on Linux the kernel tells it without.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0o022
    return next((int(line.split()[1], 8) for line in status.splitlines() if line.startswith("Umask")), 0o022)
