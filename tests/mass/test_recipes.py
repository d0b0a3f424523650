"""The recipes for clusters in docs/many-photos.md, as far as they can be checked without one."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from interactify.cli import parser
from interactify.commands.engine_options import engine
from interactify.engines import OnRay

PAGE = (Path(__file__).parents[2] / "docs/many-photos.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def check_command(words: list[str]) -> None:
    """That our own command line takes it, and means a cluster with GPUs."""
    given = parser().parse_args(words[words.index("interactify") + 1 :])
    chosen = engine(given)
    assert isinstance(chosen, OnRay) and chosen.address == "auto" and chosen.gpus == 1 and given.photos


def test_the_recipe_for_slurm_is_a_script(tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text(block("bash"))
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True).stderr == ""
    joined = script.read_text().replace("\\\n", " ")
    (run,) = [line for line in joined.splitlines() if line.startswith("srun ")]
    check_command(shlex.split(run))


def test_the_recipe_for_slurm_starts_ray_as_ray_takes_it() -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install -e '.[ray]'")
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

    joined = block("bash").replace("\\\n", " ")
    words = shlex.split(next(line for line in joined.splitlines() if line.startswith("srun ")))
    start = words[words.index("symmetric-run") + 1 : words.index("--")]
    assert curate_and_validate_ray_start_args(start) == []


def test_the_recipe_for_kuberay_is_a_ray_job() -> None:
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load(block("yaml"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    check_command(shlex.split(job["spec"]["entrypoint"]))
    groups = [job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        named = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= named
            assert container["resources"]["requests"] == container["resources"]["limits"]
    gpus = [group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for group in groups]
    assert gpus == [None, "1"]
    assert groups[0]["rayStartParams"]["num-cpus"] == "0" and all(
        isinstance(v, str) for g in groups for v in g["rayStartParams"].values()
    )
