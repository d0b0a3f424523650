"""The folder that nuclio deploys for CVAT, with all that the function needs in it.

A copy of this package goes along, so that what answers in CVAT is what was tried here; so do weights and modules that
`--model` names in this computer's files.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import shlex
import shutil
import string
import sys
from importlib import resources
from pathlib import Path

from interactify.commands.network_options import network, options
from interactify.errors import OptionError
from interactify.export.files import prepare_folder, write_json
from interactify.families import FAMILIES
from interactify.whole_file import write_whole

SETTINGS = "network.json"
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
CPU_INDEX = " --index-url https://download.pytorch.org/whl/cpu"  # PyPI's torch brings CUDA along: gigabytes
GPU = "  resources:\n    limits:\n      nvidia.com/gpu: 1\n"


def fill(given: argparse.Namespace) -> Path:
    """Write the folder that `interactify cvat-function` was asked for; returns its path.

    Raises:
        OptionError: there is something else in it, or it can't be written to.
    """
    out = Path(given.out)
    if out.is_dir() and any(out.iterdir()) and not (out / SETTINGS).is_file():
        raise OptionError(f"{out} holds other files already. Name a new folder, or an empty one.")
    network(given)  # what is wrong with it is said now, and not in a container's log
    folder = prepare_folder(out)
    model = _brought(given.model.strip(), folder)
    write_json(folder / SETTINGS, {"model": model, "options": options(given)})
    template = resources.files("interactify.tools") / "cvat_template"
    write_whole(folder / "main.py", (template / "main.py").read_bytes())
    text = string.Template((template / "function.yaml").read_text(encoding="utf-8"))
    filled = text.substitute(_words(given, model))
    write_whole(folder / "function.yaml", filled.encode())
    _copy_package(folder / "interactify")
    return folder


def _words(given: argparse.Namespace, model: str) -> dict[str, str]:
    """What the template's names stand for."""
    shown = given.name or ("interactify" if model == "zoo" else f"interactify: {Path(model.split('@')[0]).name}")
    slug = re.sub(r"[^a-z0-9]+", "-", shown.lower()).strip("-")[:50] or "network"
    return {
        "name": slug if slug.startswith("interactify") else f"interactify-{slug}",
        "title": json.dumps(shown),
        "description": json.dumps(f"{shown}, which follows clicks without having been trained for them"),
        "index": "" if given.gpu else CPU_INDEX,
        "requirements": " ".join(shlex.quote(each) for each in [*_requirements(model), *given.requirement]),
        "threads": "4" if given.gpu else "2",
        "workers": "1" if given.gpu else "2",
        "resources": GPU if given.gpu else "",
    }


def _requirements(model: str) -> list[str]:
    """What this package needs, torch and torchvision left out: they come first, from an index of their own."""
    extra = "transformers" if model.startswith("transformers/") else None
    needed = []
    for line in importlib.metadata.requires("interactify") or []:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        wanted = not marker or (extra is not None and re.search(rf"extra\s*==\s*['\"]{extra}['\"]", marker))
        if wanted and not re.match(r"(torch|torchvision)\b(?!-)", requirement):
            needed.append(requirement)
    return needed


def _brought(model: str, folder: Path) -> str:
    """Copy what a model's text names among this computer's files; returns the text that names it in the folder."""
    name, at, checkpoint = model.partition("@")
    if at:
        return f"{name}@{_copied(Path(checkpoint).expanduser(), folder)}"
    family, _, rest = name.partition("/")
    if family == "transformers" and Path(rest).expanduser().is_dir():
        return f"transformers/{_copied(Path(rest).expanduser(), folder)}"
    if ":" in name and family not in FAMILIES:
        _copy_module(name.partition(":")[0].split(".")[0], folder)
    return model


def _copied(source: Path, folder: Path) -> str:
    target = folder / "weights" / source.name
    target.parent.mkdir(exist_ok=True)
    if source.is_dir():
        _copy_folder(source, target)
    else:
        shutil.copyfile(source, target)
    return target.relative_to(folder).as_posix()


def _copy_module(name: str, folder: Path) -> None:
    """A module or package of the current folder; one that is installed has to be named by --requirement."""
    for source in (Path.cwd() / name, Path.cwd() / f"{name}.py"):
        if source.is_dir():
            return _copy_folder(source, folder / name)
        if source.is_file():
            shutil.copyfile(source, folder / source.name)
            return None
    print(f"interactify: note: {name} is installed here; name its package by --requirement", file=sys.stderr)
    return None


def _copy_package(target: Path) -> None:
    from interactify import adapters

    _copy_folder(Path(__file__).parent.parent, target)
    _copy_folder(Path(adapters.__file__ or "").parent, target / "adapters")  # where its import name says it is


def _copy_folder(source: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, ignore=NOT_SOURCE)
