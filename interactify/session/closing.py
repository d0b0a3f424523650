"""What a session gives back when it is closed."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast, overload

from interactify.errors import ClosedSessionError

T = TypeVar("T")


class UntilClosed(Generic[T]):
    """An attribute that is there until it is deleted, and raises ClosedSessionError from then on."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, session: Any, value: T) -> None:
        session.__dict__[self._name] = value

    def __delete__(self, session: Any) -> None:
        session.__dict__.pop(self._name, None)

    @overload
    def __get__(self, session: None, owner: type) -> UntilClosed[T]: ...
    @overload
    def __get__(self, session: Any, owner: type) -> T: ...
    def __get__(self, session: Any, owner: type) -> UntilClosed[T] | T:
        if session is None:
            return self
        if self._name not in session.__dict__:
            raise ClosedSessionError(
                "Expected an open session, got one that was closed. Try net.session(photo) for a new one; to continue "
                "one, session.save(path) before it is closed, and interactify.load_session(path, net, photo)."
            )
        return cast(T, session.__dict__[self._name])
