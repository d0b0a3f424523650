"""Old public names work for one release, and warn."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import interactify
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Window

MOVED = {
    "energy": ("brs.energy", "Margin"),
    "variables": ("network.variables", "Variables"),
    "spec": ("inspection.spec", "ModelSpec"),
    "insertion_points": ("network.insertion_points", "InsertionPoint"),
    "guided_filter": ("propagation.guided_filter", "GuidedFilter"),
    "draw_gestures": ("draw.gestures", "pictured"),
}


def test_old_modules_hold_the_same_and_warn() -> None:
    """In a new process, where none of them has been imported yet."""
    lines = ["import importlib, warnings", "warnings.simplefilter('always')"]
    for old, (new, name) in MOVED.items():
        lines += [
            "with warnings.catch_warnings(record=True) as caught:",
            f"    old = importlib.import_module('interactify.{old}')",
            f"assert old.{name} is importlib.import_module('interactify.{new}').{name}",
            f"assert ['interactify.{old} has moved to interactify.{new}.'] == "
            "[str(w.message) for w in caught if w.category is DeprecationWarning and 'interactify' in str(w.message)]",
        ]
    lines.append("import interactify; assert interactify.energy.Margin is interactify.brs.Margin")
    ran = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_old_names_of_windows_and_pictures() -> None:
    window, outer = Window(2, 3, 10, 20), Window(1, 1, 30, 40)
    with pytest.warns(DeprecationWarning, match=r"Window\.holds_places is Window\.contains now"):
        assert window.holds_places(np.array([[3, 2], [0, 0]])).tolist() == [True, False]
    with pytest.warns(DeprecationWarning, match=r"Window\.seen_from is Window\.relative_to now"):
        assert window.seen_from(outer) == Window(1, 2, 10, 20)
    picture, view = interactify.open_picture(np.full((20, 30, 3), 51, np.uint8)), View.fit((20, 30))
    whole = Window(0, 0, 20, 30)
    with pytest.warns(DeprecationWarning, match=r"Picture\.seen is Picture\.to_network now"):
        assert (picture.seen(whole, view) == picture.to_network(whole, view)).all()


def test_old_names_of_sessions(net) -> None:
    session = net.session(np.zeros((60, 80, 3), np.uint8))
    with pytest.warns(DeprecationWarning, match=r"Session\.first is Session\.initial_step now"):
        assert session.first is session.initial_step
