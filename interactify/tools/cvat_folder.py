"""The folder that nuclio deploys for CVAT, with all that the function needs in it.

A copy of this package goes along, so that what answers in CVAT is what was tried here; so do weights and modules that
`--model` names in this computer's files. They may lie in that very folder: what is copied is never deleted.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import string
import sys
import tempfile
from importlib import resources
from pathlib import Path

from interactify.commands.network_options import network, options
from interactify.errors import OptionError
from interactify.export.files import prepare_folder, write_json, write_whole
from interactify.models.hubs import FAMILIES

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
    named = given.model.strip()
    module = _module(named)
    network(given)  # what is wrong with it is said now, and not in a container's log
    folder = prepare_folder(out)
    source, model = _weights(named, folder)
    copied = _bring_weights(source, folder)
    _bring_module(module, folder)
    write_json(folder / SETTINGS, {"model": model, "options": options(given), "copied": copied})
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


def _weights(model: str, folder: Path) -> tuple[Path | None, str]:
    """The weights among this computer's files that a model's text names, and the text that names them in the folder."""
    name, at, checkpoint = model.partition("@")
    family, _, rest = name.partition("/")
    if at:
        source = Path(checkpoint).expanduser()
        return source, f"{name}@{_target(source, folder).relative_to(folder).as_posix()}"
    if family == "transformers" and Path(rest).expanduser().is_dir():
        source = Path(rest).expanduser()
        return source, f"transformers/{_target(source, folder).relative_to(folder).as_posix()}"
    return None, model


def _target(source: Path, folder: Path) -> Path:
    return folder / "weights" / Path(os.path.abspath(source)).name  # "." has no name; a link keeps its own


def _bring_weights(source: Path | None, folder: Path) -> str | None:
    """Copy weights to the folder, in place of those that were copied before; returns the name of what was copied.

    Only what an earlier run has copied is deleted. All else in weights/ is somebody's, and may be all there is of it.
    """
    weights = folder / "weights"
    target = None if source is None else _target(source, folder)
    before = _copied_before(folder)
    if before is not None and source is not None and source.resolve().is_relative_to(before.resolve()):
        before = None  # it is what is named now, or holds it
    itself = target is not None and source is not None and _is(source, target)
    there = sorted(weights.iterdir()) if weights.is_dir() else []
    others = [each for each in there if each != before and not (each == target and itself)]
    if others := [each for each in others if not each.name.startswith(".")]:
        raise OptionError(
            f"Expected nothing in {weights} but what this command has copied there, since all of it is deployed; found "
            f"{others[0].name}. Move it elsewhere, or name a new folder."
        )
    copied = source is not None and target is not None and _copy(source, target)
    if before is not None and before != target:
        if before.is_dir() and not before.is_symlink():
            shutil.rmtree(before)
        else:
            before.unlink(missing_ok=True)
    return target.name if copied and target is not None else None


def _copied_before(folder: Path) -> Path | None:
    """What an earlier run copied to weights/; None where there is none, or it can't be told."""
    try:
        name = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["copied"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder / "weights" / Path(name).name if isinstance(name, str) else None


def _module(model: str) -> str:
    """The module or package that a network is built by; "" where none is named."""
    if "@" in model or ":" not in model or model.partition("/")[0] in FAMILIES:
        return ""
    name = model.partition(":")[0].split(".")[0]
    if name == "main":
        raise OptionError("A module named main can't go along: main.py is what nuclio calls. Give it another name.")
    return name


def _bring_module(name: str, folder: Path) -> None:
    """Copy a module or package of the current folder; one that is installed has to be named by --requirement."""
    if not name:
        return
    for source in (Path.cwd() / name, Path.cwd() / f"{name}.py"):
        if source.exists():
            _copy(source, folder / source.name)
            return
    print(f"interactify: note: {name} is installed here; name its package by --requirement", file=sys.stderr)


def _copy_package(target: Path) -> None:
    from interactify import adapters

    _copy(Path(__file__).parent.parent, target)
    _copy(Path(adapters.__file__ or "").parent, target / "adapters")  # where its import name says it is


def _is(source: Path, target: Path) -> bool:
    return target.exists() and not target.is_symlink() and source.samefile(target)


def _copy(source: Path, target: Path) -> bool:
    """Copy a file or a folder in the place of what is there; False where it is the very same, and stays as it is.

    What is there is replaced once the copy is whole, so that a copy that fails deletes nothing.
    """
    if _is(source, target):
        return False
    ours, theirs = target.parent.resolve() / target.name, source.resolve()
    if ours in theirs.parents or theirs in ours.parents:
        raise OptionError(f"{source} can't be copied to {target}: one holds the other. Name another folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copying-", dir=target.parent) as beside:
            copy = Path(beside, "new")
            if source.is_dir():
                shutil.copytree(source, copy, ignore=NOT_SOURCE)
            else:
                shutil.copyfile(source, copy)
            old = Path(beside, "old")
            if target.is_dir():  # a folder, other than a file, takes no other one's place in one step
                os.replace(target, old)
            try:
                os.replace(copy, target)
            except OSError:
                if old.exists():
                    os.replace(old, target)
                raise
    except OSError as cause:
        reason = cause.strerror or cause
        raise OptionError(f"{source} can't be copied to {target} ({reason}). What was there is there still.") from cause
    return True
