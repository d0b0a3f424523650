"""On a GPU the library gives the same as on a CPU: every variable, energy, solver, precision and way of use.

Run by `pytest -m gpu`; skipped without a GPU. Where results are compared number by number, networks are in double
precision, so that the order of a device's additions does not matter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

import interactify
from tests.fixtures import networks

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

CLICKS = [(20, 30), (50, 10), (10, 50), (40, 40), (30, 5)]
WIDE, HIGH = 96, 64


def unet() -> nn.Module:
    model = smp.Unet("resnet18", encoder_weights=None, classes=1)
    networks.acquaint(model, 64)
    return model.eval()


def deeplab() -> nn.Module:
    model = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=4)
    networks.acquaint(model, 128)
    return model.eval()


BUILDERS: dict[str, Callable[[], nn.Module]] = {"unet": unet, "deeplab": deeplab, "plain": networks.Plain}


def built(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    return networks.seeded(BUILDERS[name]).to(dtype)


def pair(name: str, dtype: torch.dtype = torch.float64, **options: Any) -> list[interactify.Interactive]:
    """The same network on the CPU, and on the GPU with its graphs."""
    net = interactify.wrap(built(name, dtype), **{"cuda_graphs": True, **options})
    return [net, net.to("cuda")]


def played(session: interactify.Session) -> list[interactify.Result]:
    """Clicks that each ask for the other label than the pixel has."""
    results = [session.result]
    for x, y in CLICKS:
        results.append(session.click(x=x, y=y, positive=not bool(results[-1].mask[y, x])))
    return results


def assert_alike(here: list[interactify.Result], there: list[interactify.Result], tolerance: float = 1e-4) -> None:
    for a, b in zip(here, there, strict=True):
        assert np.abs(a.probability - b.probability).max() <= tolerance
        assert (a.evaluations, a.satisfied, str(a.status)) == (b.evaluations, b.satisfied, str(b.status))


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(
    "variables",
    [
        *("input", "maps", "kernels", "scale_bias@A", "scale_bias@B", "scale_bias@C"),
        *("bias_field@A", "bias_field@C", "conv1x1@A", "rows_columns@A"),
    ],
)
def test_every_variable(name: str, variables: str) -> None:
    kind, at, _ = variables.partition("@")
    if name == "plain" and at:
        variables = f"{kind}@deep"
    photo = networks.random_photo(HIGH, WIDE)
    here, there = (played(net.session(photo)) for net in pair(name, variables=variables, max_evaluations=6))
    assert_alike(here, there)


@pytest.mark.parametrize("energy", ["margin", "brs", "fbrs"])
@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
def test_every_energy_and_solver(energy: str, solver: str) -> None:
    photo = networks.random_photo(HIGH, WIDE)
    options = {"energy": energy, "solver": solver, "max_evaluations": 6}
    here, there = (played(net.session(photo)) for net in pair("unet", **options))
    assert_alike(here, there)


@pytest.mark.parametrize(
    "options",
    [{"zoom": False}, {"mirror": True}, {"propagation": "none"}, {"propagation": "edges"}, {"cuda_graphs": False}],
)
def test_every_option(options: dict[str, Any]) -> None:
    photo = networks.random_photo(HIGH, WIDE)
    here, there = (played(net.session(photo)) for net in pair("unet", max_evaluations=6, **options))
    assert_alike(here, there)


def test_every_interaction() -> None:
    photo = networks.random_photo(HIGH, WIDE)
    ring = np.zeros((HIGH, WIDE), bool)
    ring[10:50, 20:70] = True
    kinds = [
        [interactify.Mask(ring)],
        [interactify.Box(15, 8, 80, 55)],
        [interactify.Scribble([(5, 5), (60, 9)], positive=False)],
        [interactify.Click(30, 30), interactify.Click(5, 60, positive=False)],
    ]
    found = []
    for net in pair("unet", max_evaluations=6):
        session = net.session(photo)
        found.append([session.add(each) for each in kinds])
    assert_alike(*found)


def test_single_precision_before_a_click() -> None:
    photo = networks.random_photo(HIGH, WIDE)
    for name in BUILDERS:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            here, there = (net.session(photo).result.probability for net in pair(name, torch.float32))
        assert np.abs(here - there).max() < 1e-4


def test_before_a_click_it_is_the_network_itself() -> None:
    model = built("unet", torch.float32).cuda()
    net = interactify.wrap(model, mean=0, std=1, propagation="none")
    image = torch.rand(1, 3, 64, 96)
    session = net.session((image[0] * 255).round().byte().permute(1, 2, 0).numpy())
    with torch.no_grad():
        rounded = (image * 255).round() / 255
        expected = torch.sigmoid(model(rounded.cuda()))[0, 0].cpu().numpy()
    assert np.abs(session.result.probability - expected).max() < 1e-6


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_satisfies_its_clicks(precision: str) -> None:
    net = interactify.wrap(built("unet", torch.float32).cuda(), precision=precision)
    session = net.session(networks.random_photo(128, 128))
    for x, y in [(20, 30), (90, 100), (60, 64)]:
        result = session.click(x=x, y=y, positive=not bool(session.result.mask[y, x]))
        assert result.satisfied and np.isfinite(result.probability).all()


def test_a_batch_gives_what_sessions_give() -> None:
    net = interactify.wrap(built("unet").cuda(), max_evaluations=6, cuda_graphs=True)
    photo = networks.random_photo(HIGH, WIDE)
    plain = net.session(photo).result.mask
    objects = [[interactify.Click(x, y, not bool(plain[y, x]))] for x, y in CLICKS]
    together = net.refine(photo, objects)
    for clicks, result in zip(objects, together, strict=True):
        alone = net.session(photo).add(clicks)
        assert np.abs(alone.probability - result.probability).max() < 1e-4 and alone.satisfied == result.satisfied


def test_threads_do_not_disturb_each_other() -> None:
    net = interactify.wrap(built("unet").cuda(), max_evaluations=6, cuda_graphs=True)
    photos = [networks.random_photo(HIGH, WIDE, seed=seed) for seed in range(4)]
    expected = [played(net.session(photo)) for photo in photos]
    found: dict[int, list[interactify.Result]] = {}

    def work(k: int) -> None:
        with torch.cuda.stream(torch.cuda.Stream()):  # each with its own stream, as in servers
            found[k] = played(net.session(photos[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, each in enumerate(expected):
        assert_alike(each, found[k])


def test_a_session_continues_from_its_file_on_either_device(tmp_path: Path) -> None:
    photo = networks.random_photo(HIGH, WIDE)
    here, there = pair("unet", max_evaluations=6)
    session = there.session(photo)
    session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20]))
    session.save(tmp_path / "session.npz")
    after = session.click(x=50, y=10)
    for net, tolerance in ((there, 0.0), (here, 1e-4)):
        loaded = interactify.load_session(tmp_path / "session.npz", net, photo)
        assert np.abs(loaded.click(x=50, y=10).probability - after.probability).max() <= tolerance


def test_undo_frees_memory() -> None:
    net = interactify.wrap(built("unet", torch.float32).cuda(), cuda_graphs=True)
    photo = networks.random_photo(128, 128)
    session = net.session(photo)
    for _ in range(12):
        session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20]))
        session.undo()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(20):
        session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20]))
        session.undo()
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() - before < 2**20


def test_running_out_of_memory_leaves_the_session_unchanged() -> None:
    net = interactify.wrap(built("unet", torch.float32).cuda(), resolution=512)
    session = net.session(networks.random_photo(512, 512))
    first = session.click(x=20, y=30)
    larger = interactify.wrap(built("unet", torch.float32).cuda(), resolution=4096)
    torch.cuda.empty_cache()
    share = (torch.cuda.memory_reserved() + 2**28) / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        with pytest.raises(interactify.NotEnoughMemoryError):
            larger.session(networks.random_photo(4096, 4096)).click(x=5, y=5)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert session.result is first and session.click(x=100, y=100).evaluations > 0


def test_the_same_twice() -> None:
    photo = networks.random_photo(HIGH, WIDE)
    net = interactify.wrap(built("unet", torch.float64).cuda(), max_evaluations=6, cuda_graphs=True)
    first, second = (played(net.session(photo)) for _ in range(2))
    assert_alike(first, second, tolerance=1e-9)


def _doubled(model: nn.Module) -> None:
    model.head.weight.data.mul_(2)  # its counter of writes stays as it is


def _fused_step(model: nn.Module) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()


@pytest.mark.parametrize("change", [_doubled, _fused_step, nn.Module.double, nn.Module.cpu])
def test_a_model_that_changes_on_the_device_is_followed(change: Callable[[nn.Module], object]) -> None:
    model, photo = networks.seeded(networks.Plain).to("cuda"), networks.random_photo(HIGH, WIDE)
    net = interactify.wrap(model)
    session = net.session(photo)
    session.click(10, 10)
    change(model)
    with pytest.raises(interactify.ModelChangedError):
        session.click(50, 40)
    assert_alike(played(net.session(photo)), played(interactify.wrap(model).session(photo)))


def test_what_is_kept_on_the_device_is_bounded_and_given_back() -> None:
    net, photo = interactify.wrap(built("unet").to("cuda")), networks.random_photo(HIGH, WIDE)
    free = played(net.session(photo))
    before = interactify.cache_limit("cuda")
    interactify.set_cache_limit(0, "cuda")
    try:
        with net.session(photo) as session:
            assert_alike(free, played(session), tolerance=1e-9)
        assert interactify.cached_bytes("cuda") == 0
    finally:
        interactify.set_cache_limit(before, "cuda")
