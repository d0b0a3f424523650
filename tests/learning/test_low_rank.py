"""Low-rank deltas: zero at the start, of their rank when trained, and merged at the end."""

import copy

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from interactify.errors import OptionError
from interactify.learning.low_rank import is_delta, low_rank_deltas
from interactify.learning.parts import groups_of, only_trained


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return smp.Unet("tu-resnet10t", encoder_weights=None, decoder_channels=(16, 16, 16, 8, 8)).eval()


def test_nothing_changes_until_the_deltas_do(unet):
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = unet(x)
        with low_rank_deltas(unet):
            assert torch.equal(unet(x), before)
        assert torch.equal(unet(x), before)


def test_trained_deltas_are_merged_and_have_their_rank():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 1, 1))
    original = copy.deepcopy(network.state_dict())
    x = torch.rand(1, 3, 16, 16)
    with low_rank_deltas(network, rank=2) as count:
        groups = groups_of(network, "low-rank")
        trained = [name for group in groups for name in group.names]
        assert count == 2  # the last one has fewer numbers than a delta
        assert len(trained) == 2 * count
        assert all(is_delta(name) for name in trained)
        with only_trained(network, groups):
            optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 5.0)
            for _ in range(3):
                network(x).square().mean().backward()
                optimiser.step()
        with torch.no_grad():
            inside = network(x)
    with torch.no_grad():
        assert torch.allclose(network(x), inside, atol=1e-5)
    after = network.state_dict()
    assert sorted(after) == sorted(original)
    changed = [name for name in after if not torch.equal(after[name], original[name])]
    assert sorted(changed) == ["0.weight", "2.weight"]
    for name in changed:
        delta = (after[name] - original[name]).flatten(1).double()
        singular = torch.linalg.svdvals(delta)
        assert singular[1] > 1e-4
        assert singular[2] < 1e-3 * singular[1]


def test_weights_of_the_network_need_gradients_again(unet):
    with low_rank_deltas(unet), only_trained(unet, groups_of(unet, "low-rank")):
        pass
    assert all(parameter.requires_grad for parameter in unet.parameters())


@pytest.mark.parametrize("rank", [0, True, 1.5])
def test_wrong_ranks_are_refused(unet, rank):
    with pytest.raises(OptionError, match="rank"), low_rank_deltas(unet, rank):
        pass


def test_a_network_without_large_convolutions_is_refused():
    with pytest.raises(OptionError, match="got none"), low_rank_deltas(nn.Conv2d(1, 1, 1)):
        pass
