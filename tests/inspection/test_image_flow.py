"""The stem is found by what reads the image, not by name or class."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interactify.inspection.image_flow import ImageFlow, StemCall, StemSearch, followed, mark_input
from interactify.inspection.probe import probe  # noqa
from tests.fixtures import networks


def watched(model: nn.Module, image: Tensor | None = None) -> StemSearch:
    image = networks.random_tensor(1, 3, 64, 64) if image is None else image
    with followed(StemSearch(image)) as mode:
        model(image)
    return mode


@pytest.mark.parametrize(
    ("build", "calls"),
    [
        (networks.Plain, [("stem", (8, 3, 3, 3), 3)]),
        (networks.Functional, [("", (8, 3, 3, 3), 3)]),
        (networks.ParallelStems, [("stem", (8, 3, 3, 3), 3), ("point", (8, 3, 1, 1), 3)]),
        (networks.SameStem, [("stem", (8, 3, 3, 3), 3)]),
        (networks.SpaceToDepth, [("stem", (8, 12, 3, 3), 12)]),
        (networks.WeightStandardised, [("", (8, 3, 3, 3), 3)]),
        (networks.NormalisingInside, [("stem", (8, 3, 3, 3), 3)]),
        (networks.ImageAgain, [("stem", (8, 3, 3, 3), 3)]),
        (networks.NormalisingInPlace, [("stem", (8, 3, 3, 3), 3)]),
        (networks.ScriptFirst, []),
    ],
)
def test_stem_calls(build: Any, calls: list[Any]) -> None:
    spec = networks.probed(networks.seeded(build))
    assert [(call.module, call.weight, call.inputs[0]) for call in spec.stem] == calls
    assert [call.index for call in spec.stem] == list(range(len(calls)))
    assert bool(spec.used_again) == (build is networks.ImageAgain)


class Order(nn.Module):
    """Deceives whoever goes by names or by the order of registration."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, 1, 1)
        self.stem = nn.Conv2d(8, 8, 3, padding=1)
        self.zzz = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(self.stem(self.zzz(x)))


def test_names_do_not_matter() -> None:
    assert [call.module for call in networks.probed(Order()).stem] == ["zzz"]


def test_a_second_reader_at_half_size_is_a_stem_too() -> None:
    class TwoScales(networks.Plain):
        def __init__(self) -> None:
            super().__init__()
            self.context = nn.Conv2d(3, 8, 3, padding=1)

        def read(self, x: Tensor) -> Tensor:
            small = self.context(F.interpolate(x, scale_factor=0.5))
            return self.stem(x) + F.interpolate(small, size=x.shape[-2:])

    assert [call.module for call in networks.probed(TwoScales()).stem] == ["context", "stem"]


@pytest.mark.parametrize(
    "before",
    [
        lambda x: x,
        lambda x: x.clone(),
        lambda x: x[:, [2, 1, 0]],
        lambda x: torch.stack([x[:, 2], x[:, 1], x[:, 0]], 1),
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: torch.cat([x[:, :1], x[:, 1:]], 1),
        lambda x: 2 * x - 1,
        lambda x: (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True),
        lambda x: F.pad(x, (1, 2, 3, 4), mode="reflect"),
        lambda x: x.to(torch.float64).float(),
        lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3)),
        lambda x: torch.chunk(x, 2, 2)[1],
        lambda x: nn.ReLU(inplace=True)(x.clone()),
        lambda x: torch.utils.checkpoint.checkpoint(torch.relu, x, use_reentrant=False),
    ],
)
def test_ways_from_the_image_to_the_stem(before: Any) -> None:
    class Way(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.then = nn.Conv2d(4, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.then(self.conv(before(x)))

    mode = watched(Way())
    assert [call.weight for call in mode.stem] == [(4, 3, 3, 3)]
    assert mode.other_readers == []


def test_sizes_read_from_the_image_are_no_use_of_it() -> None:
    class ResizesBack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(self.head(self.conv(x)), size=x.shape[-2:]).reshape(x.shape[0], 1, *x.size()[2:])

    mode = watched(ResizesBack())
    assert len(mode.stem) == 1 and mode.other_readers == []


def test_a_constant_convolved_is_no_stem() -> None:
    class Positions(networks.Plain):
        def __init__(self) -> None:
            super().__init__()
            self.grid, self.embed = nn.Parameter(torch.randn(1, 2, 64, 64)), nn.Conv2d(2, 8, 1)

        def read(self, x: Tensor) -> Tensor:
            return self.embed(self.grid) + self.stem(x)

    assert [call.weight for call in watched(Positions()).stem] == [(8, 3, 3, 3)]


def test_results_are_the_very_same() -> None:
    model, image = networks.seeded(networks.ImageAgain), networks.random_tensor(1, 3, 64, 64)
    with followed(ImageFlow(image)):
        out = model(image)
    assert torch.equal(out, model(image))


def test_no_memory_is_kept_and_no_id_is_mistaken() -> None:
    image = networks.random_tensor(1, 3, 64, 64)
    with followed(StemSearch(image)) as mode:
        copied = image * 2
        gone = weakref.ref(copied)
        del copied
        gc.collect()
        assert gone() is None
        # Tensors made from nothing, many of which get the address of a dead one, never count as the image.
        for _ in range(200):
            _ = image * 2
            del _
            F.conv2d(torch.empty(1, 3, 4, 4), torch.empty(1, 3, 1, 1))
    assert mode.stem == []


def test_the_mode_ends_with_its_block_and_thread() -> None:
    image = networks.random_tensor(1, 3, 64, 64)
    conv = nn.Conv2d(3, 4, 3)
    conv.register_forward_pre_hook(mark_input)
    with pytest.raises(RuntimeError, match="own"), followed(StemSearch(image)) as mode:
        raise RuntimeError("own")
    conv(image)
    assert mode.stem == []
    with followed(StemSearch(image)) as mode:
        other = torch.rand(1, 3, 8, 8)
        elsewhere = threading.Thread(target=lambda: conv(other))
        elsewhere.start()
        elsewhere.join()
        F.conv2d(other, torch.rand(4, 3, 3, 3))  # marked in the other thread at most, where no mode runs
        assert mode.stem == []
        conv(torch.rand(1, 3, 8, 8))
    assert mode.stem == [StemCall(0, "", (4, 3, 3, 3), (3, 8, 8))]
