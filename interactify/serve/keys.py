"""Who may ask: API keys, which are compared in constant time.

Only their digests are kept in memory, and those of sessions' tokens in the store: neither holds what opens a session.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interactify.errors import OptionError
from interactify.web.tokens import digest_of, same

ANYONE: Final = "anyone"  # the owner of all sessions where no key is needed
LEAST: Final = 16  # characters of a key


@dataclass(frozen=True)
class Keys:
    """The API keys of a service: of each its name and its digest. Without any, whoever reaches the service may ask.

    >>> keys = Keys.read(["ana:k5k2-0fj3-91ls-aa02"])
    >>> keys.owner("k5k2-0fj3-91ls-aa02"), keys.owner("k5k2-0fj3-91ls-aa03"), Keys().owner("")
    ('ana', None, 'anyone')
    """

    digests: Mapping[str, str] | None = None

    @classmethod
    def read(cls, lines: Iterable[str]) -> Keys:
        """Keys from lines "NAME:KEY"; empty ones, and those that begin with #, are skipped.

        Raises:
            OptionError: a line of another form, a name that is there twice, or a key that is too short to be a secret.
        """
        digests: dict[str, str] = {}
        for number, line in enumerate((line.strip() for line in lines), 1):
            if not line or line.startswith("#"):
                continue
            name, _, key = line.partition(":")
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) or not re.fullmatch(rf"[!-~]{{{LEAST},512}}", key):
                raise OptionError(
                    f"Expected a key as NAME:KEY, the key of {LEAST} to 512 letters, digits and signs, got something "
                    f"else in line {number}. Try {name[:20] or 'ana'}:$(openssl rand -hex 24)."
                )
            if name in digests or digest_of(key) in digests.values():
                raise OptionError(f"Expected names and keys that differ, got {name!r} or its key twice. Remove one.")
            digests[name] = digest_of(key)
        if not digests:
            raise OptionError("Expected at least one key as NAME:KEY, got none. Try a line such as ana:KEY.")
        return cls(digests)

    @classmethod
    def of_file(cls, path: Path) -> Keys:
        """Keys from the lines of a file; raises OptionError as `read`, and where the file can't be read."""
        try:
            return cls.read(path.read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as cause:
            raise OptionError(f"Expected a file of keys, got {path}, which can't be read ({cause}).") from cause

    def owner(self, key: str) -> str | None:
        """The name of a key; None where it is none of these. All are compared, so that the time tells nothing."""
        if self.digests is None:
            return ANYONE
        found = None
        for name, digest in self.digests.items():
            if same(key, digest):
                found = name
        return found
