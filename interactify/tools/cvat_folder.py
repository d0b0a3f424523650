"""The folder that nuclio deploys for CVAT, with everything the function needs.

It has a copy of this package, so that CVAT runs the same code as this computer, and copies of the weights and modules
that the model names among this computer's files. These may be in the folder already: they are never deleted.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import string
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from interactify import adapters
from interactify.errors import OptionError
from interactify.export.files import prepare_folder, write_json, write_whole
from interactify.interactive import wrap
from interactify.models.build import build_model
from interactify.models.hubs import FAMILIES

SETTINGS = "network.json"
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
GPU = "  resources:\n    limits:\n      nvidia.com/gpu: 1\n"


def fill(
    out: str | Path,
    model: str,
    options: Mapping[str, Any],
    name: str | None = None,
    gpu: bool = False,
    requirements: Sequence[str] = (),
    torch_index: str = "",
) -> Path:
    """Write the folder that nuclio deploys; returns its path.

    Args:
        out: a folder that is new, empty, or was written by this function.
        model: the network, as `interactify.models.build_model` takes it.
        options: of `interactify.wrap`.
        name: what CVAT shows in its list of tools; the network's by default.
        gpu: whether the function runs on a GPU.
        requirements: packages that the network needs beside this one, as pip takes them.
        torch_index: the address of the index that torch and torchvision come from; pip's own by default, whose wheels
            include CUDA: gigabytes. PyTorch has one for processors alone.

    Raises:
        OptionError: the folder holds other files, or can't be written to.
        ModelError, CheckpointError, OptionError: as `build_model` and `interactify.wrap`.
    """
    out, model = Path(out), model.strip()
    if out.is_dir() and any(out.iterdir()) and not (out / SETTINGS).is_file():
        raise OptionError(f"Expected a new or empty folder, but {out} holds other files already. Try another name.")
    module = _module(model)
    wrap(build_model(model), **options)  # an error in it comes now, and not in a container's log
    folder = prepare_folder(out)
    source, deployed_model = _weights(model, folder)
    copied = _copy_weights(source, folder)
    _copy_module(module, folder)
    write_json(folder / SETTINGS, {"model": deployed_model, "options": dict(options), "copied": copied})
    template = resources.files("interactify.tools") / "cvat_template"
    write_whole(folder / "main.py", (template / "main.py").read_bytes())
    text = string.Template((template / "function.yaml").read_text(encoding="utf-8"))
    filled = text.substitute(_substitutions(deployed_model, name, gpu, requirements, torch_index))
    write_whole(folder / "function.yaml", filled.encode())
    _copy_package(folder / "interactify")
    return folder


def _substitutions(
    model: str, name: str | None, gpu: bool, requirements: Sequence[str], torch_index: str
) -> dict[str, str]:
    """The values of the template's placeholders."""
    title = name or ("interactify" if model == "zoo" else f"interactify: {Path(model.split('@')[0]).name}")
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:50] or "network"
    return {
        "name": slug if slug.startswith("interactify") else f"interactify-{slug}",
        "title": json.dumps(title),
        "description": json.dumps(f"{title}, which follows clicks without having been trained for them"),
        "index": f" --index-url {shlex.quote(torch_index)}" if torch_index else "",
        "requirements": " ".join(shlex.quote(each) for each in [*_requirements(model), *requirements]),
        "threads": "4" if gpu else "2",
        "workers": "1" if gpu else "2",
        "resources": GPU if gpu else "",
    }


def _requirements(model: str) -> list[str]:
    """This package's requirements without torch and torchvision, which are installed first, from their own index."""
    extra = "transformers" if model.startswith("transformers/") else None
    needed = []
    for line in importlib.metadata.requires("interactify") or []:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        wanted = not marker or (extra is not None and re.search(rf"extra\s*==\s*['\"]{extra}['\"]", marker))
        if wanted and not re.match(r"(torch|torchvision)\b(?!-)", requirement):
            needed.append(requirement)
    return needed


def _weights(model: str, folder: Path) -> tuple[Path | None, str]:
    """The weights on this computer that a model's text names, and the text that names their copy in the folder."""
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


def _copy_weights(source: Path | None, folder: Path) -> str | None:
    """Copy weights to the folder, in place of those of an earlier run; returns the copy's name.

    Only an earlier run's copy is deleted. All else in weights/ is the user's, and may be the only copy.
    """
    weights = folder / "weights"
    target = None if source is None else _target(source, folder)
    before = _earlier_copy(folder)
    if before is not None and source is not None and source.resolve().is_relative_to(before.resolve()):
        before = None  # it is the source, or holds it
    in_place = target is not None and source is not None and _is(source, target)
    files = sorted(weights.iterdir()) if weights.is_dir() else []
    others = [each for each in files if each != before and not (each == target and in_place)]
    if others := [each for each in others if not each.name.startswith(".")]:
        raise OptionError(
            f"Expected nothing in {weights} but this command's own copies, since all of it is deployed; found "
            f"{others[0].name}. Move it elsewhere, or name a new folder."
        )
    copied = source is not None and target is not None and _copy(source, target)
    if before is not None and before != target:
        if before.is_dir() and not before.is_symlink():
            shutil.rmtree(before)
        else:
            before.unlink(missing_ok=True)
    return target.name if copied and target is not None else None


def _earlier_copy(folder: Path) -> Path | None:
    """The copy of an earlier run in weights/; None where there is none, or it is unknown."""
    try:
        name = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["copied"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder / "weights" / Path(name).name if isinstance(name, str) else None


def _module(model: str) -> str:
    """The module or package that builds the network; "" where none is named."""
    if "@" in model or ":" not in model or model.partition("/")[0] in FAMILIES:
        return ""
    name = model.partition(":")[0].split(".")[0]
    if name == "main":
        raise OptionError(
            "Expected a module with another name than main: main.py is what nuclio calls. Try another name for it."
        )
    return name


def _copy_module(name: str, folder: Path) -> None:
    """Copy a module or package of the current folder; an installed one has to be named by --requirement."""
    if not name:
        return
    for source in (Path.cwd() / name, Path.cwd() / f"{name}.py"):
        if source.exists():
            _copy(source, folder / source.name)
            return
    print(f"interactify: note: {name} is installed here; name its package by --requirement", file=sys.stderr)


def _copy_package(target: Path) -> None:
    _copy(Path(__file__).parent.parent, target)
    _copy(Path(adapters.__file__ or "").parent, target / "adapters")  # where its import name expects it


def _is(source: Path, target: Path) -> bool:
    return target.exists() and not target.is_symlink() and source.samefile(target)


def _copy(source: Path, target: Path) -> bool:
    """Copy a file or a folder to `target`, and replace the old one; False where both are the same file, which stays.

    The old one is replaced only once the copy is complete, so that a failed copy deletes nothing.
    """
    if _is(source, target):
        return False
    ours, theirs = target.parent.resolve() / target.name, source.resolve()
    if ours in theirs.parents or theirs in ours.parents:
        raise OptionError(f"{source} can't be copied to {target}: one holds the other. Try another folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copying-", dir=target.parent) as beside:
            copy = Path(beside, "new")
            if source.is_dir():
                shutil.copytree(source, copy, ignore=NOT_SOURCE)
            else:
                shutil.copyfile(source, copy)
            old = Path(beside, "old")
            if target.is_dir():  # os.replace replaces files, but no folder that has files
                os.replace(target, old)
            try:
                os.replace(copy, target)
            except OSError:
                if old.exists():
                    os.replace(old, target)
                raise
    except OSError as cause:
        reason = cause.strerror or cause
        raise OptionError(f"{source} can't be copied to {target} ({reason}). An earlier copy is unchanged.") from cause
    return True
