"""What a store of sessions has to do, and what it holds of a session.

A session is its photo and its log: the actions in their order, each a line of JSON with a number. Lines are only added,
and only after the last one, so that of two replicas which both run action 7, one is told that it came too late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Record:
    """What does not change of a session.

    Attributes:
        id: its name, which is no secret.
        owner: the name of the API key that opened it.
        token: the SHA-256 of the token that its requests need.
        photo: the SHA-256 of its photo's file.
        name: the photo's name.
        network: the name of its network.
        target: the class of a positive click, as it was given; None for the network's own.
        identity: a digest of all that its masks depend on: photo, weights, options.
        height, width: of the photo, in pixels.
        created: seconds since 1970.
    """

    id: str
    owner: str
    token: str
    photo: str
    name: str
    network: str
    target: int | str | None
    identity: str
    height: int
    width: int
    created: float


class Store(Protocol):
    """Methods may be called from several threads, and from several processes on the same store.

    All raise StoreError where the store can't be reached or written.
    """

    def create(self, record: Record, photo: bytes) -> None:
        """Add a session without actions, and its photo's file."""

    def record(self, id: str) -> Record | None:
        """The session of this name; None where there is none."""

    def records(self, owner: str) -> list[Record]:
        """The sessions that were opened with one key, the oldest first."""

    def photo(self, digest: str) -> bytes:
        """The photo's file of this digest."""

    def append(self, id: str, number: int, entry: str, now: float) -> bool:
        """Add a line to a session's log; when this returns, it outlives this process.

        Returns False, and adds nothing, where the session is gone, or `number` does not follow its last line.
        """

    def entries(self, id: str, after: int = 0) -> list[str]:
        """The lines after the first `after` ones."""

    def used(self, id: str) -> float:
        """When the last line was added, or the session created, in seconds since 1970; 0 where there is none."""

    def lease(self, id: str, until: float, now: float, most: int) -> bool:
        """Take or renew a session's place until a time; False where `most` other sessions have theirs."""

    def release(self, id: str) -> None:
        """Give up a session's place."""

    def leases(self, now: float) -> int:
        """How many sessions have a place."""

    def delete(self, id: str) -> None:
        """Remove a session, its log, and its photo where no other session is on it."""

    def older_than(self, before: float) -> list[str]:
        """The sessions that were last used before a time and have no place then."""

    def check(self) -> None:
        """Raise StoreError where the store can't be used."""

    def close(self) -> None:
        """Give back files and connections."""
