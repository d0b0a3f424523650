"""The wheel holds what is imported and what is needed, and nothing else; importing stays light."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import interactify

ROOT = Path(__file__).parent.parent
PACKAGES = {"interactify": ROOT / "interactify", "interactify/adapters": ROOT / "adapters"}
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that no build folder is left in the tree."""
    try:
        found = int(importlib.metadata.version("setuptools").split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        found = 0
    if found < 77:
        pytest.skip("building the wheel needs setuptools 77 or newer here: install interactify[test]")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("interactify", "adapters", "tests", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=NOT_SOURCE)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(out.glob("*.whl"))


def test_it_holds_every_file_of_the_packages_and_nothing_else(wheel: Path):
    expected = {
        f"{package}/{file.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected
    assert {"interactify/py.typed", "interactify/adapters/__init__.py"} <= held
    assert {f"interactify/zoo/{name}/model.safetensors" for name in ("saliency", "clicks")} <= held
    assert {f"interactify/zoo/photos/{name}" for name in ("cat.jpg", "coffee.jpg", "astronaut.jpg")} <= held


def test_it_stays_small_and_carries_its_licence(wheel: Path):
    assert wheel.stat().st_size < 17 * 2**20
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "interactify = interactify.cli:main" in entry_points


def test_the_adapters_are_imported_from_the_folder_at_the_top():
    from interactify import adapters

    installed = Path(adapters.__file__ or "").resolve()
    if ROOT not in installed.parents:
        pytest.skip(f"another copy of interactify is installed, at {installed}")
    assert installed == ROOT / "adapters" / "__init__.py"


def test_the_version_is_told_once():
    import interactify

    assert interactify.__version__ == importlib.metadata.version("interactify")


def test_importing_it_brings_in_no_model_library():
    code = "import sys, interactify; print([m for m in ('timm', 'segmentation_models_pytorch') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_citation_names_this_version():
    """CITATION.cff is YAML whose lines are few enough to read without a parser."""
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert "cff-version: 1.2.0" in lines and f"version: {interactify.__version__}" in lines
    released = re.search(rf"## \[{re.escape(interactify.__version__)}\] - (\S+)", (ROOT / "CHANGELOG.md").read_text())
    assert released and f'date-released: "{released[1]}"' in lines
