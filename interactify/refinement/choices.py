"""The names of an interaction's readings, which `alternatives.py` computes."""

from __future__ import annotations

from typing import Final, Literal

from interactify.errors import OptionError, text_of

Choice = Literal["narrow", "usual", "wide"]
NARROW: Final = "narrow"
USUAL: Final = "usual"
WIDE: Final = "wide"
CHOICES: Final[tuple[Choice, ...]] = (NARROW, USUAL, WIDE)


def checked_choice(choice: object, whole: bool = True) -> Choice:
    """One of `CHOICES`; where the photo is not seen `whole`, the usual one. Raises OptionError for anything else."""
    known = next((each for each in CHOICES if isinstance(choice, str) and choice == each), None)
    if known is None:
        raise OptionError(f"Expected one of {', '.join(map(repr, CHOICES))}, got {text_of(choice)}.")
    if known != USUAL and not whole:
        raise OptionError(f"Expected a photo that is seen whole for {choice!r}, got one in tiles. Try another click.")
    return known
