"""The library's own warning: it names the user's line, and the command line prints it in one line."""

from __future__ import annotations

import warnings

import pytest

import interactify
from interactify import cli
from interactify.commands import demo
from interactify.errors import InteractifyWarning, warn_user


def test_it_names_the_line_that_called_the_library() -> None:
    assert interactify.InteractifyWarning is InteractifyWarning and issubclass(InteractifyWarning, UserWarning)
    with pytest.warns(InteractifyWarning, match="Assumed that") as caught:
        warn_user("Assumed that.")
    assert [each.filename for each in caught] == [__file__]


def test_through_functions_of_the_library() -> None:
    inside = eval(compile("lambda: (lambda: warn('Assumed.'))()", demo.__file__, "eval"), {"warn": warn_user})
    with pytest.warns(InteractifyWarning) as caught:
        inside()
    assert [each.filename for each in caught] == [__file__]


def test_on_the_command_line_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(out: str) -> None:
        warn_user(f"Assumed\n  {out}. Try another.")
        warnings.warn("of another package", ResourceWarning, stacklevel=1)

    monkeypatch.setattr(demo, "play_demo", play)
    shown = warnings.showwarning
    with pytest.warns(ResourceWarning, match="of another package"):
        assert cli.main(["demo", "--out", "that"]) == 0
    assert capsys.readouterr().err == "interactify: warning: Assumed that. Try another.\n"
    assert warnings.showwarning is shown
