"""Standard output and error that take any text, and outlive whoever reads them.

A command that writes files prints their names as it goes. An encoding without a character of a name, or a reader that
leaves early, as `head` does, must not end it between two files.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

_CLOSED = (errno.EPIPE, errno.EINVAL)  # the second is Windows'


class Steady:
    """A text stream whose `write` and `flush` don't fail for a character or a closed pipe; all else is the stream's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        r"""Write a text; characters that the stream's encoding lacks are written as escapes, such as \u4e2d."""
        try:
            return self._unless_closed(self._stream.write, text) or 0
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            shown = text.encode(encoding, "backslashreplace").decode(encoding)
            return self._unless_closed(self._stream.write, shown) or 0

    def flush(self) -> None:
        """Write what is buffered."""
        self._unless_closed(self._stream.flush)

    def _unless_closed(self, act: Any, *arguments: Any) -> Any:
        try:
            return act(*arguments)
        except OSError as cause:
            if cause.errno not in _CLOSED:
                raise
            self._discard()
            return None

    def _discard(self) -> None:
        """Send what is still buffered, and what comes, nowhere: Python flushes the stream once more when it ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def steady_streams(out: TextIO, err: TextIO) -> Iterator[None]:
    """Make standard output and error steady, and flush them at the end."""
    steady = [cast(TextIO, Steady(stream)) for stream in (out, err)]
    with redirect_stdout(steady[0]), redirect_stderr(steady[1]):
        try:
            yield
        finally:
            for stream in steady:
                stream.flush()
