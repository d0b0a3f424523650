"""What many tests need: a small network, a small photo, the real photos where there are any, and a tidy torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

# What `make fast` leaves out: folders and files, from here, whose tests take more than a few seconds together.
LONG = (
    *("adapters", "app", "benchmarks", "commands", "evaluation", "inspection/test_replica.py", "models"),
    *("client", "serve"),
    *("network/test_precision.py", "network/test_stem.py", "optim", "pictures/test_block_resize.py"),
    *("pictures/test_tiling.py", "predictor", "propagation/test_propagation.py", "refinement/test_history.py"),
    *("refinement/test_layers.py", "refinement/test_result.py", "runtime/test_executor.py"),
    *("runtime/test_pass_cache.py", "runtime/test_suffix.py", "session/test_batch.py", "session/test_class_clicks.py"),
    *("session/test_hostile_calls.py", "session/test_objects.py", "session/test_saving_killed.py"),
    *("runtime/test_cache.py", "session/test_click_networks.py", "session/test_stored_steps.py"),
    *("session/test_session_file.py", "session/test_session_log.py", "session/test_threads.py"),
    *("test_awkward.py", "test_docs.py", "test_identity.py", "test_packaging.py", "test_processes.py", "tools"),
    *("training", "zoo/test_brs_densenet.py", "inspection/test_model_state.py", "inspection/test_script_graph.py"),
    *("inspection/test_exported_graph.py", "inspection/test_mirror.py", "inspection/test_objects.py"),
    *("network/test_input_check.py", "session/test_session_labels.py", "test_defaults.py", "test_renamed.py"),
    *("learning/test_loop.py", "refinement/test_tiled_refiner.py", "inspection/test_independent.py", "engines", "mass"),
    "volumes",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where long tests are left out, their files are not read: every process would collect them first."""
    if "not long" not in config.getoption("markexpr"):
        return None
    here = Path(__file__).parent
    return True if any(collection_path == here / name for name in LONG) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is long. Real photos, which take minutes, go first: else one process waits for the other at the end."""
    here = Path(__file__).parent
    places = [here / name for name in LONG]
    if absent := [place.relative_to(here).as_posix() for place in places if not place.exists()]:
        raise pytest.UsageError(f"LONG in tests/conftest.py names {', '.join(absent)}: expected paths below tests/.")
    for item in items:
        if any(item.path.is_relative_to(place) for place in places):
            item.add_marker("long")
    items.sort(key=lambda item: item.get_closest_marker("data") is None)


@pytest.fixture(autouse=True)
def tidy_torch() -> Iterator[None]:
    """Every test starts from the same random state, and none leaves a setting of torch's behind."""
    dtype, threads, gradients = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    left = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
    torch.set_grad_enabled(gradients)
    assert left == (dtype, threads, gradients), "a test, or what it called, changed a global setting of torch"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real photos (GrabCut50/, ECSSD/, …) that the environment variable INTERACTIFY_DATA names."""
    named = os.environ.get("INTERACTIFY_DATA")
    if not named:
        pytest.skip("needs real photos: set INTERACTIFY_DATA to the folder that holds GrabCut50/ and ECSSD/")
    root = Path(named)
    if not (root / "GrabCut50" / "images").is_dir():
        pytest.skip(f"needs real photos, but INTERACTIFY_DATA={named} holds no GrabCut50/images")
    return root


@pytest.fixture(scope="session")
def _photo() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:72, :100]
    inside = ((rows - 30) / 22) ** 2 + ((columns - 55) / 30) ** 2 < 1
    photo = np.empty((72, 100, 3), np.uint8)
    photo[...] = np.stack([40 + columns // 2, 60 + rows, 90 + 0 * rows], axis=-1)
    photo[inside] = (220, 140, 40)
    grain = np.random.default_rng(0).integers(-12, 13, photo.shape)
    return np.clip(photo + grain, 0, 255).astype(np.uint8)


@pytest.fixture
def photo(_photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photo (72, 100, 3) uint8, no network's favourite size: an orange ellipse around (x=55, y=30) on grey."""
    return _photo.copy()


@pytest.fixture
def tiny_unet() -> nn.Module:
    """An smp U-Net of one class with random weights, the same each time, in evaluation mode: quick, and no good."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    return smp.Unet(
        "tu-resnet18", encoder_weights=None, channels=[8, 12, 16, 24], encoder_depth=3, decoder_channels=[16, 12, 8]
    ).eval()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, for tests that import tests.fixtures.browser."""
    from tests.fixtures.browser import CHROMIUM, driver

    with driver.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are left: the folder that INTERACTIFY_SHOTS names, or a temporary one."""
    named = os.environ.get("INTERACTIFY_SHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def folder(tmp_path: Path, photo) -> Path:
    """A folder with a network and two photos, for the page."""
    from PIL import Image

    from tests.fixtures.browser import NETWORK

    (tmp_path / "network_for_page.py").write_text(NETWORK)
    (tmp_path / "photos").mkdir()
    big = Image.fromarray(photo).resize((400, 288))
    big.save(tmp_path / "photos" / "first.png")
    big.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "photos" / "second.png")
    return tmp_path


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens tabs of the browser, and sees that none has told of an error."""
    from tests.fixtures.browser import Tab

    tabs: list[Tab] = []

    def opens(address: str, **options: Any) -> Tab:
        tabs.append(Tab(browser, address, **options))
        return tabs[-1]

    yield opens
    for each in tabs:
        each.close()
        assert not each.errors


@pytest.fixture
def net() -> Any:
    """A wrapped network that answers in a moment."""
    import interactify
    from tests.fixtures import networks

    return interactify.wrap(networks.seeded(networks.Plain), max_evaluations=5)


@pytest.fixture
def pictures(tmp_path: Path, photo: NDArray[np.uint8]) -> list[Path]:
    """The files of two photos, 100 wide and 72 high, in a folder of their own."""
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "first.png")
    Image.fromarray(photo[::-1].copy()).save(folder / "second.png")
    return sorted(folder.iterdir())
