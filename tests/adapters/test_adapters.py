"""Adapters of other distributions are found and used, or report how they fail; the built-in ones import no package."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import interactify
from interactify import adapters
from interactify.adapters import Adapter, adapter_for, knowledge_of, names
from interactify.adapters.generic import Generic, is_from
from interactify.errors import AdapterError, ModelError, OptionError
from interactify.inspection.spec import Knowledge
from tests.fixtures import networks

SOURCE = """
    import torch
    from torch import nn

    from interactify.adapters import Knowledge


    class TwoMaps(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)
            self.middle = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x):
            z = self.head(torch.relu(self.middle(torch.relu(self.first(x)))))
            return z[:, :1], z[:, 1:] - 1


    class MyAdapter:
        name = "mine"

        def recognises(self, model):
            return isinstance(model, TwoMaps)

        def knows(self, model):
            return Knowledge(
                family="my networks", output=1, mean=0.5, std=0.25, whole=True, normalisation="my own",
                points={"B": "middle"}, bgr=True, divisor=8,
            )
"""
SCRIPT = """
    import torch, interactify
    from interactify import adapters
    from interactify_of_mine import TwoMaps

    torch.manual_seed(0)
    model = TwoMaps()
    net = interactify.wrap(model)
    print(adapters.names()[0], net.spec.output.path, net.spec.mean, net.spec.std, net.spec.divisor, net.spec.bgr)
    print(net.spec.insertion_points()["B"].name, adapters.adapter_for(torch.nn.Conv2d(3, 1, 1)).name)
    without, chosen = interactify.wrap(model, adapter="generic"), interactify.wrap(model, output=0)
    print(without.spec.output.path, chosen.spec.output.path)
    print(net.describe())
"""


def python(code: str, *paths: Path) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_an_installed_distribution_brings_its_adapter(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "interactify_of_mine.py").write_text(textwrap.dedent(SOURCE))
    (source / "pyproject.toml").write_text(
        textwrap.dedent("""
            [build-system]
            requires = ["setuptools"]
            build-backend = "setuptools.build_meta"

            [project]
            name = "interactify-of-mine"
            version = "0.1"

            [project.entry-points."interactify.adapters"]
            mine = "interactify_of_mine:MyAdapter"

            [tool.setuptools]
            py-modules = ["interactify_of_mine"]
        """)
    )
    pytest.importorskip("setuptools", reason="building a distribution needs setuptools: install interactify[test]")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    facts, others, outputs, *described = python(SCRIPT, target).splitlines()
    assert facts == "mine (1,) (0.5, 0.5, 0.5) (0.25, 0.25, 0.25) 8 True"
    assert others == "middle generic"
    assert outputs == "(0,) (0,)", "generic knows nothing about it, and the user's choice goes first"
    text = "\n".join(described)
    for expected in ("TwoMaps (my networks)", "at '1'", "blue, green, red, mean 0.5", "(my own)", "multiples of 8"):
        assert expected in text


def test_nothing_of_a_family_is_imported_before_it_is_needed() -> None:
    code = """
        import sys, torch, interactify
        families = ("timm", "segmentation_models_pytorch", "torchvision", "transformers")
        print([name for name in families if name in sys.modules])
        interactify.wrap(torch.nn.Conv2d(3, 1, 1)).describe()
        print([name for name in families if name in sys.modules])
    """
    assert python(code).split("\n")[:2] == ["[]", "[]"]


# ---- errors of another distribution's adapter, in this process -------------------------------------------------------

GOOD = "class Mine:\n name = 'mine'\n def recognises(self, model): return True\n def knows(self, model): return {}\n"
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Write a module and its entry point where Python finds both, like an installed distribution."""

    def written(source: str, entry: str = "mine = broken_adapter:Mine") -> None:
        (tmp_path / "broken_adapter.py").write_text(source)
        info = tmp_path / "broken_adapter-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-adapter\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{adapters.GROUP}]\n{entry}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        forget()

    yield written
    monkeypatch.undo()
    forget()


def forget() -> None:
    importlib.invalidate_caches()
    sys.modules.pop("broken_adapter", None)
    adapters._third_parties.cache_clear()
    adapters._loaded.cache_clear()


BROKEN = {
    "an import error": ("import a_package_nobody_has", "loading: ModuleNotFoundError"),
    "any error": ("1 / 0", "loading: ZeroDivisionError"),
    "no such name": ("Other = 1", "loading: AttributeError"),
    "no adapter": ("Mine = 3", "loading: OptionError.*recognises"),
    "another class": ("Mine = dict", "loading: OptionError.*recognises"),
    "a class with arguments": (GOOD + " def __init__(self, more): ...", "loading: OptionError.*more"),
    "a class that raises": (GOOD + " def __init__(self): raise KeyError('own')", "loading: KeyError"),
    "no knows": (GOOD.replace("knows", "tells"), "loading: OptionError.*knows"),
    "no name": (GOOD.replace("name = 'mine'", "pass"), "loading: OptionError.*name"),
    "raises in recognises": (GOOD.replace("return True", "raise LookupError('own')"), "recognises: LookupError"),
    "raises in knows": (GOOD.replace("return {}", "raise OSError('own')"), "knows: OSError: own"),
    "knows no Knowledge": (GOOD, "got dict"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_adapter_is_reported_with_a_way_to_go_without(kind: str, install: Install) -> None:
    source, message = BROKEN[kind]
    install(source)
    model = networks.seeded(networks.Plain)
    with pytest.raises(AdapterError, match=message) as caught:
        interactify.wrap(model)
    assert "'mine'" in str(caught.value) and "adapter='generic'" in str(caught.value)
    assert interactify.wrap(model, adapter="generic").spec.output.classes == 1, "works without the broken adapter"


def test_what_an_adapter_states_wrongly_about_a_network(install: Install) -> None:
    install(
        "from interactify.inspection.spec import Knowledge\n" + GOOD.replace("{}", "Knowledge(points={'A': 'nowhere'})")
    )
    with pytest.raises(ModelError, match="got 'nowhere'"):
        interactify.wrap(networks.seeded(networks.Plain))


def test_an_adapter_cannot_take_a_built_in_name(install: Install) -> None:
    install(GOOD, "generic = broken_adapter:Mine")
    assert isinstance(adapter_for(networks.seeded(networks.Plain)), Generic)


def test_third_parties_come_first(install: Install) -> None:
    install("from interactify.inspection.spec import Knowledge\n" + GOOD.replace("{}", "Knowledge(family='theirs')"))
    assert names()[0] == "mine" and names()[-1] == "generic"
    assert knowledge_of(networks.seeded(networks.Plain)).family == "theirs"
    assert knowledge_of(networks.seeded(networks.Plain), "generic").family == ""


# ---- by name and by hand ---------------------------------------------------------------------------------------------


class ByHand:
    """Names the layers of `networks.Plain`."""

    name = "by hand"

    def recognises(self, model: nn.Module) -> bool:
        raise AssertionError("recognises was called for a chosen adapter")

    def knows(self, model: nn.Module) -> Knowledge:
        return Knowledge(
            family=f"plain, {sum(p.numel() for p in model.parameters())} weights",
            forward=lambda replica, image: {"mine": replica.rest(replica.read(image)) + 7.0},
            class_names=("thing",),
            mean=0.1,
            std=0.2,
            points={"A": "down"},
        )


@pytest.mark.parametrize("adapter", [ByHand, ByHand()], ids=["class", "object"])
def test_an_adapter_given_by_hand(adapter: Adapter) -> None:
    model = networks.seeded(networks.Plain)
    net = interactify.wrap(model, adapter=adapter)
    photo = networks.random_photo()
    plain = interactify.wrap(model, mean=0.1, std=0.2).session(photo).result.logits
    assert net.session(photo).result.logits.sub(plain + 7.0).abs().max() < 1e-5, "its forward runs"
    assert net.spec.output.path == ("mine",) and net.spec.insertion_points()["A"].name == "down"
    assert net.spec.class_names == ("thing",) and net.spec.family.endswith("weights")
    over = interactify.wrap(model, adapter=adapter, mean=0.3, points={"A": "deep"}, class_names=["other"])
    assert (over.spec.mean[0], over.spec.std[0]) == (0.3, 0.2), "a user's values go before an adapter's"
    assert over.spec.insertion_points()["A"].name == "deep" and over.spec.class_names == ("other",)


@pytest.mark.parametrize(
    "wrong",
    ["nothing", "", 3, dict, Knowledge(), nn.Module, lambda model: None],
    ids=lambda wrong: type(wrong).__name__,
)
def test_invalid_adapters(wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"adapter"):
        interactify.wrap(networks.seeded(networks.Plain), adapter=wrong)
    with pytest.raises(OptionError, match="generic"):
        interactify.wrap(networks.seeded(networks.Plain), adapter="nothing")


def test_a_family_is_recognised_by_the_package_of_its_classes() -> None:
    class Mine(nn.Conv2d): ...

    assert is_from(Mine(3, 1, 1), "torch") and not is_from(Mine(3, 1, 1), "tor")
    assert not is_from(networks.seeded(networks.Plain), "timm")
