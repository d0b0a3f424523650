"""Secrets that open something: made at random, compared in constant time, and kept as digests where that is enough."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(24)


def digest_of(secret: str) -> str:
    """The SHA-256 of a secret. Keys and tokens are random and long, so that it needs no salt."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def same(secret: str, digest: str) -> bool:
    """Whether a secret has a digest; takes as long whatever the answer is.

    >>> same("a", digest_of("a")), same("b", digest_of("a"))
    (True, False)
    """
    return hmac.compare_digest(digest_of(secret), digest)
