"""Docstrings show examples as they stand in Python; the site needs a fence around them, or it takes >>> for a quote."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*\n?(?:^(?P=indent)\S.*\n?)*", re.MULTILINE)


def fenced(text: str) -> str:
    r"""Put ```pycon around every example: from >>> to the next empty line.

    >>> fenced("Adds.\n\n>>> 1 + 1\n2\n\nThat is all.")
    'Adds.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nThat is all.'
    """
    return EXAMPLE.sub(lambda found: _fence(found["indent"], found[0]), text)


def _fence(indent: str, example: str) -> str:
    return f"{indent}```pycon\n{example.rstrip()}\n{indent}```\n"


class FencedExamples(griffe.Extension):
    """The same for every docstring on the site."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)
