"""The measurements in volumes, on small ones: what is drawn, what is checked, and the pictures."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from torch import Tensor, nn

from benchmarks import drawn_volumes, volume_brain, volume_cost, volume_pictures, volume_support, volumes
from interactify.evaluation import Evaluation, VolumeRecord
from tests.fixtures import volumes as fixtures


@pytest.mark.parametrize("name", drawn_volumes.SETS)
def test_volumes_are_the_same_for_the_same_name_and_differ_otherwise(name: str) -> None:
    one, other = drawn_volumes.samples(name, 2)
    again = drawn_volumes.samples(name, 1)[0]
    assert np.array_equal(one.photo, again.photo) and np.array_equal(one.truth, again.truth)
    assert not np.array_equal(one.truth, other.truth)
    for sample in (one, other):
        assert label(sample.truth, np.ones((3, 3, 3)))[1] == 1  # one object, without loose parts
        assert 0.001 < (sample.truth == 1).mean() < 0.2
        if name != "bias field":  # there, the brightness says little
            assert sample.photo[sample.truth == 1].mean() > sample.photo[sample.truth == 0].mean() + 0.2


def test_a_bias_field_is_smooth_and_in_its_range() -> None:
    field = drawn_volumes.bias_field(np.random.default_rng(0), (12, 10, 8), 0.6)
    assert (field.min(), field.max()) == (pytest.approx(0.4), pytest.approx(1.6))
    assert np.abs(np.diff(field, axis=0)).max() < 0.35


def test_the_same_seed_trains_the_same_network() -> None:
    network, same = (drawn_volumes.trained(2, batch=1, side=16) for _ in range(2))
    start = drawn_volumes.SmallUNet3d()
    assert not network.training and start.state_dict().keys() == network.state_dict().keys()
    assert int(network.state_dict()["down.0.1.num_batches_tracked"]) == 2
    for one, other in zip(network.state_dict().values(), same.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_figures_of_two_objects() -> None:
    records = (
        VolumeRecord("a", [0.5, 0.9], [True], [4], [1.0], [0.0], [0.1, 0.2], [1], surface=[[2.0, 4.0], [1.0, 2.0]]),
        VolumeRecord("b", [0.5, 0.3], [False], [8], [1.0], [0.0], [0.1, 0.2], [1], surface=[[None, None], [3.0, 6.0]]),
    )
    found = volumes.figures(Evaluation(records, 1))
    assert found["iou"] == [0.5, 0.6] and found["lost"] == 1 and found["satisfied"] == 0.5
    assert found["surface_before"] == [None, None] and found["surface_after"] == [2.0, 4.0]


def test_differences_are_of_the_same_volumes() -> None:
    def row(variables: str, curves: list[list[float]]) -> dict[str, object]:
        return {"network": "U-Net", "set": "drawn", "volumes": [4, 6], "variables": variables, "curves": curves}

    found = volumes.differences([row("input", [[0.5, 0.5], [0.2, 0.3]]), row("kernels", [[0.5, 0.6], [0.2, 0.4]])])
    assert [each["network"] for each in found] == ["all", "U-Net", "U-Net"]
    assert all(each["gain"] == pytest.approx([0.1, 0.1, 0.1]) for each in found)


def test_a_network_that_works_is_found_to_work() -> None:
    found = volume_support.checked("Plain3d", fixtures.Plain3d)
    assert found.works, found
    assert found.identity == 0 and set(found.satisfied) == set(volume_support.VARIABLES)


@pytest.mark.filterwarnings("ignore::interactify.errors.InteractifyWarning")
def test_a_network_that_does_not_says_why() -> None:
    class Deaf(nn.Module):
        """Its map does not depend on the volume where it is clicked."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv3d(1, 2, 1)
            self.head = nn.Conv3d(2, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.sigmoid(self.stem(x))) * 1e-3 + 1

    found = volume_support.checked("Deaf", Deaf)
    assert not found.works
    assert volume_support._failures(found)


def test_the_page_lists_what_fails() -> None:
    good = volume_support.Finding("Good", identity=0, satisfied={"input": "yes"}, windows="yes")
    bad = volume_support.Finding("Bad", identity=0, satisfied={"input": "negative click: budget"}, windows="yes")
    made = {"date": "2026-01-01", "interactify": "1", "torch": "2"}
    results = {"machine": made, "versions": {"monai": "1"}, "networks": [vars(good), vars(bad)]}
    text = volume_support.page(results)
    assert "1 of 2 networks work" in text and "- Bad: `input`: negative click: budget" in text


def test_planes_show_truth_and_mask() -> None:
    truth = np.zeros((6, 8, 10), np.int8)
    truth[1:5, 2:6, 3:8] = 1
    mask = truth == 1
    mask[:, :, :5] = False
    picture = np.asarray(volume_pictures.three_planes(np.zeros(truth.shape), truth, [~mask & False, mask], (2, 3, 5)))
    upper, lower = picture[: len(picture) // 2 - 4], picture[len(picture) // 2 + 4 :]
    for colour, above, below in ((volume_pictures.TRUTH, True, True), (volume_pictures.MASK, False, True)):
        assert (upper == colour).all(-1).any() == above and (lower == colour).all(-1).any() == below
    whole = volume_pictures.beside(
        volume_pictures.curves({"a": [0.1, 0.9], "b": [0.1]}), volume_pictures.curves({"a": [0, 1]})
    )
    assert whole.size == (612, 220)


def test_memory_of_a_call() -> None:
    most, kept, array = volume_cost.peak(lambda: np.ones(4_000_000).copy())  # 32 MB, and 32 that are freed
    assert 28 < kept < 45 and most > 28 and array.nbytes == 32_000_000


def test_a_template_is_read_and_damaged(tmp_path: Path) -> None:
    header = bytearray(352)
    header[42:48] = np.array((12, 14, 10), "<i2").tobytes()
    header[70:72] = np.array((2,), "<i2").tobytes()
    header[108:112] = np.array((352.0,), "<f4").tobytes()
    own = np.arange(12 * 14 * 10, dtype=np.uint16).reshape(12, 14, 10) % 200
    path = tmp_path / volume_brain.TEMPLATE
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(bytes(header) + own.astype(np.uint8).tobytes(order="F")))
    volume, spacing = volume_brain.template(tmp_path)
    assert volume.shape == (96, 96, 96) and spacing == (12 / 96, 14 / 96, 10 / 96)
    assert volume[0, 95, 0] == pytest.approx(own[0, 13, 0] / own.max())
    plain = volume_brain.damaged(volume, 0, 0, 0)
    assert plain.mean() == pytest.approx(0.449, abs=1e-4) and plain.std() == pytest.approx(0.226, abs=1e-4)
