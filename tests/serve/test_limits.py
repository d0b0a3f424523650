"""The limits of a service: what they may be, and which files they let a request name."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")

from interactify.errors import OptionError, PhotoError
from interactify.serve.limits import Limits


@pytest.mark.parametrize(
    "wrong",
    [
        {"sessions": 0},
        {"in_memory": True},
        {"workers": 0},
        {"threads": 1.5},
        {"liveness": 0},
        {"folders": ["/nowhere/x"]},
    ],
)
def test_limits_are_checked(wrong):
    with pytest.raises(OptionError):
        Limits(**wrong)


def test_paths_lead_nowhere_but_into_the_folders(tmp_path):
    inside, outside = tmp_path / "photos", tmp_path / "other"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    for file in (inside / "a.png", inside / "deep" / "b.png", outside / "c.png"):
        file.write_bytes(b"x")
    (inside / "out").symlink_to(outside)
    (inside / "out.png").symlink_to(outside / "c.png")
    (inside / "in.png").symlink_to(inside / "a.png")
    limits = Limits(folders=[inside])
    for right in ("a.png", "deep/b.png", "deep/../a.png", str(inside / "a.png"), "in.png"):
        assert limits.photo_at(right).parent.is_relative_to(inside)
    texts = set()
    for wrong in ("../other/c.png", str(outside / "c.png"), "out/c.png", "out.png", "deep", "none.png", "", "a\0", None,
                  3, ["a.png"], "a" * 5000, "/etc/passwd", "~/a.png"):  # fmt: skip
        with pytest.raises(PhotoError) as error:
            limits.photo_at(wrong)
        texts.add(str(error.value))
    assert len(texts) == 1, "a file outside and one that is not there are told alike"
    with pytest.raises(PhotoError):
        Limits().photo_at("a.png")
