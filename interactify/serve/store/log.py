"""The log of one session in a store."""

from __future__ import annotations

import time

from interactify.errors import StoreError
from interactify.serve.store.records import Store
from interactify.web.log import Entry, entry_in, line_of


class StoreLog:
    """See `Log` for the methods, which raise StoreError: an action that can't be written is refused."""

    def __init__(self, store: Store, id: str) -> None:
        self._store, self._id = store, id

    def append(self, entry: Entry) -> bool:
        return self._store.append(self._id, entry["n"], line_of(entry), time.time())

    def entries_after(self, number: int) -> list[Entry]:
        entries = []
        for n, line in enumerate(self._store.entries(self._id, number), number + 1):
            entry = entry_in(line)
            if entry is None or entry.get("n") != n or "do" not in entry:  # no mask without it is the session's
                raise StoreError(
                    f"Expected action {n} of the session {self._id} in the store, got a damaged line. Open the photo "
                    "in a new session."
                )
            entries.append(entry)
        return entries
