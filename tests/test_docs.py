"""The site builds strictly, asks nothing of other places, and its examples run."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interactify import zoo
from tests.fixtures import networks

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [page for page in [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"] if page.exists()]
AS_READERS_RUN_THEM = ("README.md", "index.md", "embedded-network.md")  # the others with a network that is quicker
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A fenced block of Python. `reason` says why it isn't run, "" where it is; `line` counts from 1."""

    code: str
    line: int
    reason: str


def examples(text: str) -> Iterator[Example]:
    """Find ```python blocks; ```{ .python notest="why" } are shown to readers, and not run."""
    for block in FENCE.finditer(text):
        info = block["info"].strip()
        marked = re.fullmatch(r'\{ *\.python +notest="(?P<reason>[^"]+)" *\}', info)
        if info == "python" or marked:
            line = text.count("\n", 0, block.start()) + 2
            yield Example(textwrap.dedent(block["body"]), line, marked["reason"] if marked else "")
        elif "python" in info.lower() or "pycon" in info.lower():
            raise AssertionError(f'Write ```python or ```{{ .python notest="why" }}; found ```{info}')


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_its_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The blocks of a page are run in order, as one script, in an empty folder: what they need, they make."""
    monkeypatch.chdir(tmp_path)
    if page.name not in AS_READERS_RUN_THEM:
        load = zoo.load
        monkeypatch.setattr(zoo, "load", lambda *name: load(*name) if name else networks.slim_saliency(side=128))
    names: dict[str, object] = {"__name__": "__example__"}
    for example in examples(page.read_text(encoding="utf-8")):
        if example.reason:
            compile(example.code, str(page), "exec")
            continue
        # Empty lines before it, so that a traceback shows the page's own line.
        code = compile("\n" * (example.line - 1) + example.code, str(page), "exec")
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, names)


def test_extras_are_installed_from_a_clone():
    """There is no release: what pip finds under this name is not this project, or nothing."""
    sources = [each for folder in ("interactify", "adapters", "benchmarks") for each in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 100
    for path in [*PAGES, ROOT / "CONTRIBUTING.md", *sources]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"interactify\[|pip install interactify", text), f"{path} takes a release for granted"


def test_finding_examples():
    found = list(examples('a\n```python\nx = 1\n```\n\n!!! note\n    ```{ .python notest="a hub" }\n    y\n    ```\n'))
    assert found == [Example("x = 1\n", 3, ""), Example("y\n", 8, "a hub")]
    with pytest.raises(AssertionError, match="notest"):
        list(examples("```python skip\n```\n"))


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs mkdocs: install interactify[docs]")
def test_the_site_builds_strictly_and_asks_nothing_of_other_places(tmp_path: Path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES) / 2
    fetched = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^>]+""")
    for page in pages:
        found = fetched.findall(page.read_text(encoding="utf-8"))
        assert not found, f"{page.name} fetches {found}"
    reference = (tmp_path / "api.html").read_text(encoding="utf-8")
    assert "<blockquote>" not in reference and reference.count('class="gp"') > 10  # examples look like Python
