"""The library's packages lie in layers without circles, no file is long, and a click runs through few files.

The counting is benchmarks/architecture.py's; the order of the layers is the one of import-linter in pyproject.toml.
import-linter sees only what lies in interactify/, while the tests here hold the order for adapters/ too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import architecture
from benchmarks.architecture import Import, Module, room_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

LIBRARY = "interactify"
MOST_AT_THE_ROOT = 12
MOST_FILES_OF_A_CLICK = 25
Layers = list[tuple[set[str], bool]]


# The library


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    return architecture.modules_in(architecture.FOLDERS)


@pytest.fixture(scope="module")
def imports(modules: dict[str, Module]) -> list[Import]:
    return architecture.imports_in(modules)


@pytest.fixture(scope="module")
def linter() -> dict:
    """What import-linter is told to hold: its contract of layers."""
    settings = tomllib.loads((architecture.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    return contract


@pytest.fixture(scope="module")
def layers(linter: dict) -> Layers:
    return layers_of(linter["layers"])


def layers_of(lines: list[str]) -> Layers:
    """The rooms of each layer from the ground up, and whether they may import each other, from import-linter's lines.

    `interactify` itself, the `__init__`, can't be a layer of import-linter's: it is put where it belongs, below tools.
    """
    found: Layers = []
    for line in reversed(lines):
        rooms = {f"{LIBRARY}.{name.strip(' ()')}" for name in line.replace(":", "|").split("|")}
        found += [({LIBRARY}, False)] if f"{LIBRARY}.tools" in rooms else []
        found.append((rooms, ":" in line))
    return found


def against(layers: Layers, imports: list[Import]) -> list[Import]:
    """The imports from a higher layer, and those from beside where the layer does not allow it."""
    height = {room: number for number, (rooms, _) in enumerate(layers) for room in rooms}
    found = []
    for each in imports:
        importer, imported = room_of(each.importer), room_of(each.imported)
        if importer != imported and {importer, imported} <= height.keys():
            _, beside = layers[height[importer]]
            if height[imported] > height[importer] or (height[imported] == height[importer] and not beside):
                found.append(each)
    return found


def told(imports: list[Import]) -> list[str]:
    return [f"{each.importer}:{each.line} imports {each.imported} ({each.where})" for each in imports]


def test_no_modules_import_each_other_in_a_circle(modules, imports):
    assert architecture.circles(architecture.graph_of(modules, imports)) == []


def test_no_packages_import_each_other_in_a_circle(modules, imports):
    assert architecture.package_circles(modules, imports) == []


@pytest.mark.parametrize("where", ["module", "function", "typing"])
def test_nothing_is_imported_from_a_layer_above(imports, layers, where):
    assert told([each for each in against(layers, imports) if each.where == where]) == []


def test_every_package_and_module_at_the_root_has_its_layer(modules, linter, layers):
    placed = {room for rooms, _ in layers for room in rooms}
    aliases = {f"{LIBRARY}.{name}" for name in linter["exhaustive_ignores"]}
    there = {room_of(name) for name in modules}
    assert (there - placed - aliases, (placed | aliases) - there) == (set(), set())


def test_what_needs_no_layer_is_a_short_alias_that_only_users_import(modules, imports, linter):
    aliases = {f"{LIBRARY}.{name}" for name in linter["exhaustive_ignores"]}
    assert {name for name in aliases & modules.keys() if modules[name].lines > architecture.SHORT} == set()
    assert told([each for each in imports if each.imported in aliases and each.importer != LIBRARY]) == []


def test_few_modules_lie_at_the_root(modules):
    root = [each for each in modules.values() if each.name.count(".") == 1 and not each.is_package]
    assert len([each.name for each in root if each.lines > architecture.SHORT]) <= MOST_AT_THE_ROOT


def test_no_file_is_long(modules):
    assert {each.name: each.lines for each in modules.values() if each.lines > architecture.MOST_LINES} == {}


def test_the_walk_in_the_docs_is_short_and_true(modules):
    page = (architecture.ROOT / "docs" / "architecture.md").read_text()
    steps = page[page.index("## The walk of a click") :].split("\n## ")[0]
    files = re.findall(r"^\d+\. `([a-z_/]+)\.py`", steps, flags=re.MULTILINE)
    walk = architecture.walk_of_a_click(modules)
    named = ["interactify." + file.replace("/", ".") for file in files]
    assert 15 <= len(files) == len({*files}) <= MOST_FILES_OF_A_CLICK, "no file twice"
    assert {*named} <= {*walk.click}, {*named} - {*walk.click}


# The counting, on made-up packages


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[dict[str, Module], list[Import]]]:
    """Writes a package `interactify` of the given files, and reads its modules and imports."""

    def writes(**texts: str) -> tuple[dict[str, Module], list[Import]]:
        for name, text in {"__init__": "", **texts}.items():
            path = (tmp_path / name.replace(".", "/")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        modules = architecture.modules_in({LIBRARY: tmp_path})
        return modules, architecture.imports_in(modules)

    return writes


def pairs(imports: list[Import]) -> set[tuple[str, str, str]]:
    return {
        (each.importer.removeprefix("interactify."), each.imported.removeprefix("interactify."), each.where)
        for each in imports
    }


def circles_of(found: tuple[dict[str, Module], list[Import]]) -> list[list[str]]:
    return architecture.circles(architecture.graph_of(*found))


def test_a_chain_is_no_circle(made):
    found = made(a="import interactify.b", b="from interactify import c", c="import numpy")
    assert pairs(found[1]) == {("a", "b", "module"), ("b", "c", "module")}
    assert circles_of(found) == []


def test_a_circle_is_found_however_long(made):
    found = made(a="from interactify.b import x", b="from interactify import c", c="import interactify.a", d="")
    assert circles_of(found) == [["interactify.a", "interactify.b", "interactify.c"]]


def test_two_circles_are_told_apart_and_the_larger_comes_first(made):
    found = made(
        a="from interactify import b, c",
        b="from interactify import a",
        c="from interactify import d",
        d="from interactify import e",
        e="from interactify import c",
    )
    assert circles_of(found) == [
        ["interactify.c", "interactify.d", "interactify.e"],
        ["interactify.a", "interactify.b"],
    ]


@pytest.mark.parametrize("guard", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_a_circle_through_type_checking_is_found(made, guard):
    found = made(
        a="from interactify import b", b=f"if {guard}:\n    from interactify.a import X\nelse:\n    X = object"
    )
    assert pairs(found[1]) == {("a", "b", "module"), ("b", "a", "typing")}
    assert circles_of(found) == [["interactify.a", "interactify.b"]]


def test_what_is_imported_where_types_are_not_checked_is_an_ordinary_import(made):
    _, imports = made(a="if TYPE_CHECKING:\n    pass\nelse:\n    from interactify import b", b="")
    assert pairs(imports) == {("a", "b", "module")}


def test_a_circle_through_a_function_or_a_method_is_found(made):
    found = made(
        a="from interactify import b",
        b="class B:\n    async def m(self):\n        if self:\n            from interactify.a import f\n",
    )
    assert pairs(found[1]) == {("a", "b", "module"), ("b", "a", "function")}
    assert circles_of(found) == [["interactify.a", "interactify.b"]]


def test_an_import_in_a_class_body_or_a_try_runs_with_the_module(made):
    _, imports = made(
        a="class A:\n    import interactify.b\ntry:\n    import interactify.c\nfinally:\n    pass", b="", c=""
    )
    assert pairs(imports) == {("a", "b", "module"), ("a", "c", "module")}


def test_relative_imports_are_followed(made):
    _, imports = made(
        **{
            "low": "",
            "p.__init__": "from .one import f\nfrom . import two",
            "p.one": "from . import two\nfrom .two import g\nfrom .. import low",
            "p.two": "from ..low import h",
            "p.q.__init__": "from ..two import g",
            "p.q.deep": "from ... import low\nfrom .. import one",
        }
    )
    assert pairs(imports) == {
        ("p", "p.one", "module"),
        ("p", "p.two", "module"),
        ("p.one", "p.two", "module"),
        ("p.one", "low", "module"),
        ("p.two", "low", "module"),
        ("p.q", "p.two", "module"),
        ("p.q.deep", "low", "module"),
        ("p.q.deep", "p.one", "module"),
    }


def test_a_name_of_a_package_counts_as_an_import_of_its_init(made):
    _, imports = made(**{"p.__init__": "f = 1", "p.one": "", "a": "from interactify.p import f, one"})
    assert pairs(imports) == {("a", "p", "module"), ("a", "p.one", "module")}


def test_packages_can_be_in_a_circle_while_modules_are_not(made):
    found = made(**{"p.a": "from interactify.q import b", "q.b": "", "q.c": "from interactify.p import d", "p.d": ""})
    assert circles_of(found) == []
    assert architecture.package_circles(*found) == [["interactify.p", "interactify.q"]]


def test_packages_within_a_package_can_be_in_a_circle(made):
    found = made(**{"o.p.a": "from ..q import b", "o.q.b": "", "o.q.c": "from ..p import d", "o.p.d": ""})
    assert architecture.package_circles(*found) == [["interactify.o.p", "interactify.o.q"]]


def test_floors_are_counted_along_the_longest_chain(made):
    found = made(
        **{
            "ground": "",
            "first.a": "from interactify import ground",
            "first.b": "from . import a",  # within the package: no higher
            "second": "from interactify.first import b\nfrom interactify import ground",
            "top": "def f():\n    from interactify import second\nfrom interactify import ground",
        }
    )
    floors = architecture.floors(architecture.graph_of(*found, LIBRARY))
    assert {room_of(name).removeprefix("interactify."): floor for name, floor in floors.items()} == {
        "interactify": 0,
        "ground": 0,
        "first": 1,
        "second": 2,
        "top": 3,
    }


def test_a_circle_is_one_floor(made):
    found = made(
        low="",
        a="from interactify import b, low",
        b="from interactify import a",
        top="from interactify import b",
    )
    floors = architecture.floors(architecture.graph_of(*found))
    assert [floors[f"interactify.{name}"] for name in ("low", "a", "b", "top")] == [0, 1, 1, 2]


def test_imports_against_the_layers_are_found(made):
    layers = layers_of(["(cli)", "tools", "a | b", "c : d"])
    _, imports = made(
        **{
            "__init__": "from interactify import a, cli",
            "cli": "from interactify import tools, c",
            "tools": "import interactify",
            "a": "from interactify import b",
            "b": "def f():\n    import interactify",
            "c.one": "from interactify import d",
            "d": "if TYPE_CHECKING:\n    from interactify.a import A",
        }
    )
    assert pairs(against(layers, imports)) == {
        ("interactify", "cli", "module"),
        ("a", "b", "module"),
        ("b", "interactify", "function"),
        ("d", "a", "typing"),
    }


def test_a_walk_tells_where_it_returns():
    walk = ["interactify.session.a", "interactify.brs.a", "interactify.brs.b", "interactify.session.b"]
    assert architecture.returns(walk) == ["interactify.session.b"]
    assert architecture.returns(walk[:3]) == []


def test_a_walk_notes_functions_in_all_threads_and_no_bodies_of_modules(tmp_path):
    import threading

    path = tmp_path / "module.py"
    code = compile("class A:\n    x = 1\ndef f():\n    return 1\n", str(path), "exec")
    walk = architecture.Walk({str(path): "interactify.module"})
    names: dict = {"__name__": "module"}
    with walk.noting(walk.opening):
        exec(code, names)
    with walk.noting(walk.click):
        thread = threading.Thread(target=names["f"])
        thread.start()
        thread.join()
    assert (walk.opening, walk.click) == ([], ["interactify.module"])
