"""Arrays as they come (matrices, arrays with masked pixels) as plain NumPy arrays, for photos and masks alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from interactify.errors import InteractifyError, OptionError


def plain_array(value: Any, what: str, error: type[InteractifyError] = OptionError) -> Any:
    """A NumPy array without what its subclass adds; anything else as it is.

    A matrix, whose slices keep two dimensions, becomes an array; an array with a mask in which nothing is masked
    loses it.

    Args:
        value: an array, or anything else.
        what: it is, for the error: "a photo", "labels". Its last word names the array in the advice.
        error: the kind of error to raise.

    Raises:
        OptionError, or what `error` says: pixels of it are masked, since nobody knows what they are.

    >>> plain_array(np.ma.masked_array([[True, False]], mask=False), "a mask")
    array([[ True, False]])
    """
    if not isinstance(value, np.ndarray) or type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        masked = int(np.ma.count_masked(value))
        if masked:
            raise error(
                f"Expected {what} without masked pixels, got {masked} masked values in an array of shape "
                f"{value.shape} and type {value.dtype}. Try {what.split()[-1]}.filled(0), where they are 0."
            )
        value = value.data
    return np.asarray(value)
