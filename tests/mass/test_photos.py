"""Which photos a run is about, and which one a name in the prompts means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interactify.errors import OptionError, PhotoError
from interactify.mass.photos import matched, outside, photos_at
from interactify.mass.places import Place
from interactify.mass.prompts.photo_prompts import PhotoPrompts


@pytest.mark.parametrize("path", ["cup.png", "./cup.png", "absolute"])
def test_one_photo_is_found_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "cup.png")
    monkeypatch.chdir(tmp_path)
    folder, names = photos_at(str(tmp_path / "cup.png") if path == "absolute" else path)
    assert names == ["cup.png"] and Path(folder.at("cup.png").path).is_file()


def test_no_photo_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="no such folder"):
        photos_at(str(tmp_path / "nowhere"))


def test_what_a_run_has_written_is_no_photo(tmp_path: Path) -> None:
    names = ["cup.png", "masks/cup-1-mask.png", "out/masks/cup-1-mask.png", "out2/mug.png"]
    folder = Place.of(tmp_path)
    assert outside(names, folder, Place.of(tmp_path / "out")) == ["cup.png", "masks/cup-1-mask.png", "out2/mug.png"]
    assert outside(names, folder, folder) == ["cup.png", "out/masks/cup-1-mask.png", "out2/mug.png"]
    assert outside(names, folder, Place.of(f"{tmp_path}-beside/out")) == names


def test_a_name_may_begin_with_folders_above_but_a_hidden_file_is_another_one() -> None:
    assert matched([PhotoPrompts("../photos/cup.jpg")], ["cup.jpg"])[0][0] == "cup.jpg"
    assert matched([PhotoPrompts("./cup.jpg")], ["cup.jpg"])[0][0] == "cup.jpg"
    with pytest.raises(OptionError, match=r"\.cup\.jpg"):
        matched([PhotoPrompts(".cup.jpg")], ["cup.jpg"])
