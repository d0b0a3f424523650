"""How the library is laid out: its packages from the ground up, its import circles, and the files a click runs through.

`python -m benchmarks.architecture` prints the report, `--walk` adds the walk of a click file by file, `--json FILE`
writes all figures.

What imports what is read from the source text; nothing is imported for it. An import inside a function or under
`TYPE_CHECKING` counts like any other. Python itself would allow a circle through it, a reader would still be lost in
one. What text alone cannot tell is not seen: names handed to `importlib.import_module` and to `lazy_loader`.

A *room* is what lies directly in interactify/: a package with all in it, or a single module. `interactify` itself, the
`__init__` that users import, is a room too. A room's *floor* is 0 where it imports no other room, else one above the
highest room it imports. The modules of one circle share a floor. The click is measured: it is played on the embedded
network, and a file of the library is noted when a function of it is entered for the first time.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "interactify"
FOLDERS = {LIBRARY: ROOT / "interactify", "interactify.adapters": ROOT / "adapters"}  # as [tool.setuptools] maps them
MOST_LINES = 450
SHORT = 12  # modules at the root that are no longer hold nothing: an alias for what has moved, the version
Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Module:
    """One file of the library under the name it is imported by."""

    name: str
    path: Path
    text: str

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


@dataclass(frozen=True)
class Import:
    """One import of one module by another, and where it is written: "module", "function" or "typing"."""

    importer: str
    imported: str
    line: int
    where: str


def modules_in(folders: Mapping[str, Path]) -> dict[str, Module]:
    """All Python files of the folders, each of which is imported by the name that is its key."""
    found = {}
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))
            found[name] = Module(name, path, path.read_text(encoding="utf-8"))
    return found


def imports_in(modules: Mapping[str, Module]) -> list[Import]:
    """Every import of one of the modules by another of them."""
    found = []
    for module in modules.values():
        for node, where in _import_nodes(ast.parse(module.text), "module"):
            for name in _imported_names(node, module):
                while name and name not in modules:  # `from package.module import function` names a function
                    name = name.rpartition(".")[0]
                if name and name != module.name:
                    found.append(Import(module.name, name, node.lineno, where))
    return list(dict.fromkeys(found))


def _import_nodes(node: ast.AST, where: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, where
        elif isinstance(child, ast.If) and ast.unparse(child.test).rpartition(".")[2] == "TYPE_CHECKING":
            yield from _import_nodes(ast.Module(child.body, []), "typing")
            yield from _import_nodes(ast.Module(child.orelse, []), where)
        else:
            in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _import_nodes(child, "function" if in_function else where)


def _imported_names(node: ast.Import | ast.ImportFrom, module: Module) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        parts = module.name.split(".")
        start = parts[: len(parts) - node.level + module.is_package]
        base = ".".join((*start, *filter(None, [node.module])))
    return [f"{base}.{alias.name}" for alias in node.names]


def room_of(name: str, parent: str = LIBRARY) -> str:
    """The child of `parent` that the module lies in, or `parent` itself for its `__init__`."""
    return ".".join(name.split(".")[: parent.count(".") + 2])


def graph_of(modules: Iterable[str], imports: Iterable[Import], parent: str | None = None) -> dict[str, set[str]]:
    """What imports what among all modules or, given a package, among that package's children."""
    inside = [name for name in modules if parent is None or f"{name}.".startswith(f"{parent}.")]
    node = {name: name if parent is None else room_of(name, parent) for name in inside}
    graph: dict[str, set[str]] = {each: set() for each in node.values()}
    for each in imports:
        if each.importer in node and each.imported in node and node[each.importer] != node[each.imported]:
            graph[node[each.importer]].add(node[each.imported])
    return graph


def reached(graph: Graph, start: str) -> set[str]:
    """All that is imported by `start`, by what it imports, and so on; `start` is among it where it is in a circle."""
    found, waiting = set[str](), [*graph[start]]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += graph[name]
    return found


def circles(graph: Graph) -> list[list[str]]:
    """The groups in which each imports each other, directly or not, the largest first."""
    far = {name: reached(graph, name) for name in graph}
    groups = {tuple(sorted(other for other in far[name] if name in far[other])) for name in graph if name in far[name]}
    return sorted((list(group) for group in groups), key=lambda group: (-len(group), group))


def package_circles(modules: Iterable[str], imports: list[Import]) -> list[list[str]]:
    """The circles among the children of a package, for all packages, that a package is part of."""
    names = set(modules)
    packages = {name[:end] for name in names for end, sign in enumerate(name) if sign == "."}
    found = [circle for parent in sorted(packages) for circle in circles(graph_of(names, imports, parent))]
    return [circle for circle in found if packages & set(circle)]


def floors(graph: Graph) -> dict[str, int]:
    """How high each lies: 0 where it imports nothing, else one above the highest that it imports."""
    ring = {name: set(circle) for circle in circles(graph) for name in circle}
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            group = ring.get(name, {name})
            below = {other for member in group for other in graph[member]} - group
            height = 1 + max((floor(other) for other in below), default=-1)
            found.update(dict.fromkeys(group, height))
        return found[name]

    return {name: floor(name) for name in graph}


@dataclass
class Walk:
    """The files of the library whose functions are entered, in the order of the first entry."""

    names: Mapping[str, str]  # from a file's path to the module's name
    opening: list[str] = field(default_factory=list)
    click: list[str] = field(default_factory=list)

    @contextmanager
    def noting(self, into: list[str]) -> Iterator[None]:
        """Note what is entered meanwhile, in this thread and in those that are started; not what imports run."""
        seen: dict[str, None] = {}

        def enters(frame: FrameType, event: str, _: Any) -> None:
            in_function = event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED  # no module, no class body
            if in_function and (name := self.names.get(frame.f_code.co_filename)):
                seen.setdefault(name)

        threading.setprofile(enters)
        sys.setprofile(enters)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            into += seen


def walk_of_a_click(modules: Mapping[str, Module]) -> Walk:
    """Open an embedded photo, click twice and read the mask; note the files that opening and clicking enter.

    The second click is the first at which the network may look closer.
    """
    import interactify

    photo = next(photo for photo in interactify.zoo.photos() if photo.name == "coffee")
    net = interactify.wrap(interactify.zoo.load())
    walk = Walk({str(module.path): name for name, module in modules.items()})
    with walk.noting(walk.opening):
        session = net.session(photo.path)
    with walk.noting(walk.click):
        for click in photo.clicks[:2]:
            result = session.click(click.x, click.y, positive=click.positive)
        result.mask  # noqa: B018
    return walk


def returns(walk: list[str]) -> list[str]:
    """The modules of a walk at which it comes back to a room that it had left before."""
    rooms = [room_of(name) for name in walk]
    return [walk[i] for i in range(1, len(walk)) if rooms[i] != rooms[i - 1] and rooms[i] in rooms[:i]]


def figures(modules: Mapping[str, Module], walk: Walk) -> dict[str, Any]:
    """All that the report tells, as plain data."""
    imports = imports_in(modules)
    rooms = graph_of(modules, imports, LIBRARY)
    levels = floors(rooms)
    root = [name for name, module in modules.items() if name.count(".") == 1 and not module.is_package]
    short = {name for name in root if modules[name].lines <= SHORT}
    aliases = {name for name in short if rooms[name]}
    inside = {room: [module for name, module in modules.items() if room_of(name) == room] for room in rooms}
    return {
        "packages": len({module.path.parent for module in modules.values()}),
        "modules": len(modules),
        "floors": 1 + max(levels.values()),
        "floors of modules": 1 + max(floors(graph_of(modules, imports)).values()),
        "circles of modules": circles(graph_of(modules, imports)),
        "circles of packages": package_circles(modules, imports),
        "imports": {kind: sum(i.where == kind for i in imports) for kind in ("module", "function", "typing")},
        "modules at the root": sorted(set(root) - short),
        "aliases at the root": sorted(aliases),
        "too long": {name: module.lines for name, module in modules.items() if module.lines > MOST_LINES},
        "rooms": [
            {
                "floor": levels[room],
                "room": room,
                "modules": len(inside[room]),
                "lines": sum(module.lines for module in inside[room]),
                "imports from": sorted(rooms[room], key=lambda other: (levels[other], other)),
            }
            for room in sorted(set(rooms) - aliases, key=lambda room: (levels[room], room))
        ],
        "opening enters": walk.opening,
        "click enters": walk.click,
    }


def _short(name: str) -> str:
    return name.removeprefix(f"{LIBRARY}.")


def report(found: Mapping[str, Any], with_walk: bool) -> Iterator[str]:
    """The lines of the report."""
    both = {"net.session(photo)": found["opening enters"], "session.click(x, y)": found["click enters"]}
    yield "The library from the ground up. A package should import only from floors below its own.\n"
    yield f"{'floor':>5}  {'package or module':<18} {'files':>5} {'lines':>6}  imports from"
    for row in found["rooms"]:
        below = ", ".join(map(_short, row["imports from"])) or "–"
        yield f"{row['floor']:>5}  {_short(row['room']):<18} {row['modules']:>5} {row['lines']:>6}  {below}"
    kinds = found["imports"]
    yield f"\n{found['packages']} packages with {found['modules']} modules on {found['floors']} floors"
    yield f"{found['floors of modules']} modules in the longest chain of imports"
    yield f"{sum(kinds.values())} imports, {kinds['function']} inside functions, {kinds['typing']} under TYPE_CHECKING"
    for kind in ("modules", "packages"):
        yield f"{len(found[f'circles of {kind}'])} import circles among {kind}"
        yield from (f"    {len(circle)}: {', '.join(map(_short, circle))}" for circle in found[f"circles of {kind}"])
    aliases = ", ".join(map(_short, found["aliases at the root"])) or "none"
    yield f"{len(found['modules at the root'])} modules over {SHORT} lines at the root; aliases there: {aliases}"
    too_long = ", ".join(f"{_short(name)} ({lines})" for name, lines in found["too long"].items())
    yield f"{len(found['too long'])} files over {MOST_LINES} lines{': ' if too_long else ''}{too_long}"
    for call, walk in both.items():
        rooms, back = {*map(room_of, walk)}, returns(walk)
        yield f"{call} enters {len(walk)} files of {len(rooms)} packages, returns {len(back)} times to an earlier one"
    yield f"both together enter {len(set().union(*both.values()))} files"
    if with_walk:
        yield "\nThe walk of a click: each file, when a function of it is entered for the first time"
        for number, name in enumerate(found["click enters"], 1):
            again = f"back in {_short(room_of(name))}" if name in back else ""
            yield f"{number:>5}  {_short(name):<40} {again}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--walk", action="store_true", help="print the walk of a click, file by file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    modules = modules_in(FOLDERS)
    found = figures(modules, walk_of_a_click(modules))
    print("\n".join(report(found, options.walk)))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
