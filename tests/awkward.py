"""Networks that do what people's networks do and textbooks' don't, written from scratch, one quirk each.

`tests/networks.py` holds those of the stem; these are about what happens further in, and about what comes out.
"""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import networks
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


# ---- what happens inside ---------------------------------------------------------------------------------------------


class CalledAgain(networks.Plain):
    """One convolution is gone through three times, one activation everywhere, with other numbers of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.again = conv(12, 12)

    def rest(self, first: Tensor) -> Tensor:
        skip = self.act(first)
        deep = self.act(self.deep(self.act(self.down(skip))))
        for _ in range(3):
            deep = deep + self.act(self.again(deep))
        return self.head(self.act(self.up(torch.cat([skip, resized(deep, skip)], 1)))) * self.gain


class TwoModes(networks.Plain):
    """While it trains it returns a tuple with an auxiliary map first; batch norm counts, too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.aux = nn.BatchNorm2d(8), nn.Conv2d(8, 1, 1)
        self.norm.running_mean.uniform_(-0.5, 0.5)

    def read(self, x: Tensor) -> Tensor:
        return self.norm(self.stem(x))

    def forward(self, x: Tensor) -> Any:
        main = super().forward(x)
        return (self.aux(self.read(x)) * 100, main) if self.training else main


class InPlace(networks.Plain):
    """Every activation and every addition writes over what the layer before it returned."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.skip = nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1)

    def rest(self, first: Tensor) -> Tensor:
        first = self.act(first)
        skip = self.skip(first)
        deep = self.deep(self.act(self.down(first)))
        deep += deep.mean((2, 3), keepdim=True)
        deep = F.leaky_relu_(deep, 0.1)
        up = self.up(torch.cat([first, resized(deep, first)], 1))
        up += skip
        up = up.mul_(0.9).relu_()
        return self.head(up).mul_(self.gain)


class Levels(nn.Module):
    """An encoder that returns a list with None where a level is left out; views of one tensor, written over later."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = conv(8, 12, 2), conv(12, 16, 2)

    def forward(self, x: Tensor) -> list[Tensor | None]:
        both = self.deep(F.relu(self.down(x)))
        return [x, None, both[:, :4], None, both[:, 4:]]


class ListsWithNone(networks.Plain):
    """Modules that pass each other lists with None; right after the encoder its deep maps are written over."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = Levels()

    def rest(self, first: Tensor) -> Tensor:
        maps = self.levels(F.relu(first))
        maps[2].mul_(0.5)
        maps[4].relu_()
        deep = maps[4] + F.pad(maps[2], (0, 0, 0, 0, 0, 8))
        return self.head(F.relu(self.up(torch.cat([maps[0], resized(deep, first)], 1)))) * self.gain


class Stage(nn.Sequential):
    """Overrides modules() with something else, as a stage may that keeps a table of its own."""

    def modules(self) -> Any:  # type: ignore[override]
        return {"first": self[0]}


class OverridesModules(networks.Plain):
    """Has a method modules() with an argument, and a part that overrides it as well."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(conv(8, 8), nn.ReLU(inplace=True))

    def modules(self, kind: str) -> list[str]:  # type: ignore[override]
        return [name for name, _ in self.named_children() if kind in name]

    def read(self, x: Tensor) -> Tensor:
        return self.stage(self.stem(x)) if self.modules("stage") else x


class DecidesByData(networks.Plain):
    """Which way it goes, and how often, depends on the picture."""

    def rest(self, first: Tensor) -> Tensor:
        skip, rounds = self.act(first), 0
        deep = self.down(skip)
        while rounds < 3 and float(deep.std()) > 0.3:
            deep, rounds = deep * 0.7, rounds + 1
        deep = self.act(self.deep(self.act(deep)))
        if bool((deep.mean() > 0.01).item()):
            deep = deep + 0.1
        up = resized(deep, skip)
        return self.head(self.act(self.up(torch.cat([skip, up], 1)))) * self.gain


class Folded(networks.Plain):
    """A stem on 48 channels: each 4 × 4 block of pixels, folded by hand; what comes out is at 1/4 of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(48, 8)

    def read(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        folded = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 3, 5, 1, 2, 4).contiguous()
        return self.stem(folded.view(n, 16 * c, h // 4, w // 4))


class TwoBranches(networks.Plain):
    """A fine and a coarse branch, each with an image of its own to read."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8))
        self.coarse = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4, padding=3), nn.ReLU(), conv(8, 12, 2))

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        return self.head(self.act(self.up(torch.cat([fine, resized(self.coarse(x), fine)], 1)))) * self.gain


class EvoNorm(nn.Module):
    """EvoNorm-S0: x · sigmoid(v x) over the deviation in groups, with scale and shift (Liu et al., 2020)."""

    def __init__(self, channels: int, groups: int = 4) -> None:
        super().__init__()
        self.groups = groups
        self.v, self.scale = (nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5) for _ in range(2))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        spread = x.view(n, self.groups, -1).var(2, keepdim=True).add(1e-5).sqrt()
        spread = spread.expand(n, self.groups, c // self.groups).reshape(n, c, 1, 1)
        return x * torch.sigmoid(self.v * x) / spread * self.scale + self.shift


class Normed(networks.Plain):
    """A norm after stem and deepest layer: GroupNorm, EvoNorm."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.first, self.last = norm(8), norm(12)

    def rest(self, first: Tensor) -> Tensor:
        skip = self.act(self.first(first))
        deep = self.act(self.last(self.deep(self.act(self.down(skip)))))
        return self.head(self.act(self.up(torch.cat([skip, resized(deep, skip)], 1)))) * self.gain


class Dropping(networks.Plain):
    """Dropout, channel dropout and stochastic depth, all of which training alone turns on."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.channels_drop, self.branch = nn.Dropout(0.5), nn.Dropout2d(0.5), conv(8, 8)

    def read(self, x: Tensor) -> Tensor:
        first = self.channels_drop(self.stem(x))
        branch = self.branch(first)
        if self.training:
            branch = branch * (torch.rand(len(x), 1, 1, 1) < 0.5) / 0.5
        return F.dropout(first + branch, 0.5, self.training) + self.drop(first)


class Preparing(networks.Plain):
    """Prepares the image itself, with a function it is given."""

    def __init__(self, prepare: Any) -> None:
        super().__init__()
        self.prepare = prepare

    def read(self, x: Tensor) -> Tensor:
        return self.stem(self.prepare(x))


# ---- side outputs ----------------------------------------------------------------------------------------------------


class RSU(nn.Module):
    """A residual U-block (Qin et al., U²-Net, 2020): a small U-net of its own, with a shortcut around it."""

    def __init__(self, inputs: int, middle: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.enter = self.block(inputs, outputs)
        self.downs = nn.ModuleList(self.block(outputs if i == 0 else middle, middle) for i in range(depth))
        self.bottom = nn.Sequential(nn.Conv2d(middle, middle, 3, padding=2, dilation=2), nn.ReLU(inplace=True))
        self.ups = nn.ModuleList(self.block(2 * middle, middle if i else outputs) for i in range(depth))

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(conv(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        entered = x = self.enter(x)
        kept = []
        for i, down in enumerate(self.downs):
            x = down(F.max_pool2d(x, 2, stride=2, ceil_mode=True) if i else x)
            kept.append(x)
        x = self.bottom(x)
        for up, skip in zip(reversed(self.ups), reversed(kept), strict=True):
            x = up(torch.cat([resized(x, skip), skip], 1))
        return x + entered


class U2(nn.Module):
    """A small U²-Net: six side outputs and their fusion, each through a sigmoid, at full size.

    `order` makes of (fused, sides) what is returned; `gain` scales the logits, for probabilities of exactly 0 and 1.
    """

    def __init__(self, order: Any = lambda fused, sides: (fused, *sides), gain: float = 1.0) -> None:
        super().__init__()
        c, m = 6, 4
        self.encoder = nn.ModuleList(RSU(3 if i == 0 else c, m, c, max(1, 3 - i // 2)) for i in range(6))
        self.decoder = nn.ModuleList(RSU(2 * c, m, c, max(1, 3 - i // 2)) for i in range(5))
        self.sides = nn.ModuleList(conv(c, 1) for _ in range(6))
        self.fuse = nn.Conv2d(6, 1, 1)
        self.order, self.gain = order, gain

    def forward(self, x: Tensor) -> Any:
        image, kept = x, []
        for i, stage in enumerate(self.encoder):
            x = stage(F.max_pool2d(x, 2, stride=2, ceil_mode=True) if i else x)
            kept.append(x)
        maps = [x]
        for stage, skip in zip(reversed(self.decoder), reversed(kept[:-1]), strict=True):
            x = stage(torch.cat([resized(x, skip), skip], 1))
            maps.append(x)
        sides = [resized(side(level), image) for side, level in zip(self.sides, reversed(maps), strict=True)]
        fused = self.fuse(torch.cat(sides, 1))
        return self.order(torch.sigmoid(fused * self.gain), [torch.sigmoid(side) for side in sides])


class DeeplySupervised(networks.Plain):
    """Maps of four depths and no fusion, as U-Net++ returns them: the last, made of most, is the one meant."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.steps = (
            nn.ModuleList(make() for _ in range(3)) for make in (lambda: conv(8, 1), lambda: conv(8, 8))
        )

    def forward(self, x: Tensor) -> Any:
        first = level = self.act(self.read(x))
        maps = []
        for head, step in zip(self.heads, self.steps, strict=True):
            maps.append(head(level) * 50)
            level = self.act(step(level))
        return [*maps, self.rest(first + 0.1 * level)]


class Hed(networks.Plain):
    """HED, DSS: a resized side output from each level of the encoder, then a learned sum of them; all sigmoids."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in (8, 12, 12))
        self.head = nn.Conv2d(3, 1, 1)
        del self.up

    def forward(self, x: Tensor) -> Any:
        levels = [self.act(self.read(x))]
        levels += [self.act(self.down(levels[-1]))]
        levels += [self.act(self.deep(levels[-1]))]
        sides = [resized(side(level), x) for side, level in zip(self.sides, levels, strict=True)]
        fused = self.head(torch.cat(sides, 1)) * self.gain
        return [torch.sigmoid(each) for each in (*sides, fused)]


# ---- containers ------------------------------------------------------------------------------------------------------

Named = namedtuple("Named", ["aux", "logits"])


class Answer:
    """An object of the user's own, with a way back to itself."""

    def __init__(self, z: Tensor) -> None:
        self.loss, self.mask, self.owner = None, z, self


CONTAINERS: dict[str, tuple[Any, str]] = {
    "a named tuple": (lambda z: Named(F.interpolate(-z, scale_factor=2.0), z), "logits"),
    "an object": (Answer, "mask"),
    "a namespace": (lambda z: SimpleNamespace(result=SimpleNamespace(map=z), time=0.1), "result.map"),
    "nested tuples": (lambda z: ((z.mean((2, 3)), None), ((z,), "text")), "1.0.0"),
    "a dict of lists": (lambda z: {"boxes": torch.rand(1, 9, 4), "maps": [F.avg_pool2d(z, 4), z]}, "maps.1"),
    "a dataclass in a dict": (lambda z: {"result": networks.Prediction(None, z)}, "result.logits"),
}
