"""The recipes of deploy/ as far as they can be checked without a builder: they parse, and what they name is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from interactify.cli import parser

yaml = pytest.importorskip("yaml", reason="needs PyYAML: install interactify[docs]")

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def commands_of(text: str) -> list[list[str]]:
    """The command of the Dockerfile's ENTRYPOINT, with each of its CMD in turn."""
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)
    (usual,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    return [json.loads(entry), json.loads(usual)]


def test_the_image_runs_a_command_that_there_is(compose):
    entry, usual = commands_of(DOCKERFILE)
    assert entry[0] == "interactify"
    services = compose["services"]
    for words in (usual, services["first"]["command"], services["second"]["command"]):
        given = parser().parse_args([*entry[1:], *(re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in words)])
        assert given.host == "0.0.0.0" and given.port == 8348 and given.model == "zoo"


def test_what_is_copied_is_there_and_is_not_ignored():
    copied = [name for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"pyproject.toml", "interactify", "adapters"} <= set(copied)
    for name in copied:
        assert (DEPLOY.parent / name).exists() and f"!{name}" in ignored, name


def test_both_variants_are_stages():
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE))
    assert stages == {"cpu", "cuda"} and "ARG VARIANT=cpu" in DOCKERFILE and "FROM ${VARIANT}" in DOCKERFILE
    assert re.search(r"^USER \d+$", DOCKERFILE, re.MULTILINE), "not root"


def test_no_index_of_packages_is_written_down():
    assert "://" not in re.sub(r"http://127\.0\.0\.1:\d+", "", DOCKERFILE)
    assert '${TORCH_INDEX:+--index-url "${TORCH_INDEX}"}' in DOCKERFILE


def test_two_replicas_share_a_redis_that_writes_at_once(compose):
    services = compose["services"]
    for name in ("first", "second"):
        each = services[name]
        assert "redis://redis:6379/0" in each["command"] and each["depends_on"]["redis"]
        assert (DEPLOY / each["build"]["context"] / each["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
        assert int(each["stop_grace_period"].removesuffix("s")) > 40, "longer than the service itself takes to end"
        assert "ports" not in each, "only the proxy is reached"
    redis = services["redis"]["command"]
    assert redis[redis.index("--appendonly") + 1] == "yes" and redis[redis.index("--appendfsync") + 1] == "always"
    assert {name for each in services.values() for name in each.get("depends_on", ())} <= set(services)
    mounted = [volume.split(":")[0] for each in services.values() for volume in each.get("volumes", ())]
    for source in mounted:
        assert (DEPLOY / source).is_file() if source.startswith(".") else source in compose["volumes"], source


def test_the_proxy_knows_both_replicas(compose):
    text = (DEPLOY / "nginx.conf").read_text()
    for name in re.findall(r"server (\w+):8348", text):
        assert name in compose["services"]
    assert set(re.findall(r"server (\w+):8348", text)) == {"first", "second"}
    assert text.count("{") == text.count("}") and "listen 8348;" in text and "non_idempotent" in text
    assert compose["services"]["proxy"]["ports"] == ["127.0.0.1:8348:8348"]


def test_hadolint_finds_nothing():
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("needs hadolint")
    found = subprocess.run([program, "--no-color", str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
