"""The training loop: it learns, goes on after being killed as if nothing had happened, and refuses what is wrong."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from interactify.errors import CheckpointError, OptionError, TrainingError
from interactify.learning import Group, Recipe, train
from interactify.learning.loop import CURVES, STATE

ALL = [Group(("0.weight", "0.bias"))]
QUICK = {"groups": ALL, "progress_bar": False, "device": "cpu"}


@dataclass
class Line:
    """Learn y = 2 x + 1 from noisy pictures of one pixel."""

    def draw(self, generator, count, done):
        x = torch.randn(count, 1, 1, 1, generator=generator)
        return x, 2 * x + 1

    def loss(self, network, batch):
        x, y = batch
        return (network(x) - y).square().mean()

    def score(self, network):
        assert not network.training
        return -abs(network(torch.ones(1, 1, 1, 1)).item() - 3)


def one_weight():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 1, 1))


def test_it_learns(tmp_path):
    network = one_weight()
    progress = train(network, Line(), Recipe(steps=300, learning_rate=0.1, warmup=5, weight_decay=0), tmp_path, **QUICK)
    assert network[0].weight.item() == pytest.approx(2, abs=0.1)
    assert network[0].bias.item() == pytest.approx(1, abs=0.1)
    assert progress.step == 300
    assert progress.scores[-1][0] == 300
    assert progress.scores[-1][1] == pytest.approx(0, abs=0.15)
    assert progress.losses[-1][1] < progress.losses[0][1] / 10
    assert not network.training
    assert "<polyline" in (tmp_path / CURVES).read_text()


def test_the_same_seed_gives_the_same_weights(tmp_path):
    recipe = Recipe(steps=20)
    networks = [one_weight() for _ in range(3)]
    for k, (network, seed) in enumerate(zip(networks, (0, 0, 1), strict=True)):
        train(network, Line(), replace(recipe, seed=seed), tmp_path / str(k), **QUICK)
    weights = [network[0].weight.item() for network in networks]
    assert weights[0] == weights[1] != weights[2]


def test_a_training_that_is_over_is_not_repeated(tmp_path):
    recipe = Recipe(steps=20)
    first, again = one_weight(), one_weight()
    train(first, Line(), recipe, tmp_path, **QUICK)
    progress = train(again, Line(), recipe, tmp_path, **QUICK)
    assert progress.step == 20
    assert again[0].weight.item() == first[0].weight.item()


def test_another_recipe_does_not_go_on(tmp_path):
    train(one_weight(), Line(), Recipe(steps=5), tmp_path, **QUICK)
    with pytest.raises(CheckpointError, match=r"learning_rate=0\.002"):
        train(one_weight(), Line(), Recipe(steps=5, learning_rate=1e-4), tmp_path, **QUICK)


def test_a_damaged_state_is_refused(tmp_path):
    (tmp_path / STATE).write_bytes(b"PK no zip")
    with pytest.raises(CheckpointError, match="damaged"):
        train(one_weight(), Line(), Recipe(steps=5), tmp_path, **QUICK)


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    class Broken(Line):
        def loss(self, network, batch):
            return super().loss(network, batch) * float("nan")

    network = one_weight()
    before = network[0].weight.item()
    with pytest.raises(TrainingError, match="step 0"):
        train(network, Broken(), Recipe(steps=5), tmp_path, **QUICK)
    assert network[0].weight.item() == before


def test_accumulated_gradients_are_those_of_one_large_batch(tmp_path):
    class Fixed(Line):
        def draw(self, generator, count, done):
            x = torch.arange(8.0).view(-1, 1, 1, 1)[:count] if count == 8 else torch.arange(8.0).view(2, 4, 1, 1, 1)[0]
            return x, 2 * x + 1

    class Halves(Line):
        calls = 0

        def draw(self, generator, count, done):
            x = torch.arange(8.0).view(2, 4, 1, 1, 1)[self.calls % 2]
            self.calls += 1
            return x, 2 * x + 1

    networks = one_weight(), one_weight()
    train(networks[0], Fixed(), Recipe(steps=3, batch=8), tmp_path / "a", **QUICK)
    train(networks[1], Halves(), Recipe(steps=3, batch=4, accumulate=2), tmp_path / "b", **QUICK)
    assert networks[0][0].weight.item() == pytest.approx(networks[1][0].weight.item(), abs=1e-6)


def test_only_the_groups_are_trained_and_requires_grad_stays(tmp_path):
    network = one_weight()
    network[0].weight.requires_grad_(False)
    before = network[0].bias.item()
    train(network, Line(), Recipe(steps=5), tmp_path, **{**QUICK, "groups": [Group(("0.weight",))]})
    assert network[0].bias.item() == before
    assert not network[0].weight.requires_grad
    assert network[0].bias.requires_grad


@pytest.mark.parametrize(
    "options",
    [{}, {"steps": 5, "minutes": 1.0}, {"steps": 0}, {"steps": 5, "batch": 0}, {"steps": 5, "precision": "int8"}],
)
def test_wrong_recipes_are_refused(options):
    with pytest.raises(OptionError):
        Recipe(**options)


def test_the_rate_rises_and_falls():
    from interactify.learning.checkpoint import Progress

    recipe = Recipe(steps=100, warmup=10)
    rates = [recipe.rate(Progress(step)) for step in range(100)]
    assert rates[0] < 0.2
    assert max(rates) > 0.9
    assert rates[-1] < 0.01


_KILLED = """
import sys, time
import torch
from torch import nn
from interactify.learning import Group, Recipe, train

class Slow:
    def draw(self, generator, count, done):
        x = torch.randn(count, 1, 1, 1, generator=generator)
        return x, 2 * x + 1
    def loss(self, network, batch):
        time.sleep(0.05)
        x, y = batch
        return (network(x) - y).square().mean()
    def score(self, network):
        return 0.0

torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(1, 1, 1))
train(network, Slow(), Recipe(steps=60), sys.argv[1], groups=[Group(("0.weight", "0.bias"))], progress_bar=False,
      device="cpu", save_every=0.0)
"""


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    killed = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "killed")], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while not (tmp_path / "killed" / STATE).exists():
        assert killed.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    step = torch.load(tmp_path / "killed" / STATE, weights_only=True)["progress"]["step"]
    assert 0 < step < 60
    weights = []
    for folder in ("killed", "whole"):
        network = one_weight()
        assert train(network, Line(), Recipe(steps=60), tmp_path / folder, **QUICK).step == 60
        weights.append((network[0].weight.item(), network[0].bias.item()))
    assert weights[0] == weights[1]
