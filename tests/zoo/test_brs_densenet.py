"""The paper's network: its layout, how it begins, and BRS as published on it."""

import numpy as np
import pytest
import torch

import interactify
from interactify import zoo
from interactify.errors import OptionError


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return zoo.brs_densenet().eval()


def test_it_has_the_layout_of_the_released_network(network):
    count = sum(p.numel() for p in network.encoder.parameters())
    assert count == 6_953_856 - 2 * 1024 + 2 * 64 * 49  # DenseNet-121 without classifier and last norm, two maps more
    assert [level.attention.squeeze.out_channels for level in network.decoder] == [64, 64, 32, 16]
    assert network.decoder[1].convolutions[0][0].weight.shape == (256, 512, 3, 3)
    assert network.coarse[0].in_channels == 32
    assert [branch[0][0].dilation for branch in network.fine_decoder.branches] == [(1, 1), (2, 2), (3, 3)]


def test_clicks_change_nothing_before_training_in_the_coarse_part(network):
    coarse = zoo.brs_densenet(fine=False).eval()
    coarse.load_state_dict(network.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        outputs = [
            coarse(torch.cat([image, maps], 1)) for maps in (torch.zeros(1, 2, 64, 64), torch.rand(1, 2, 64, 64))
        ]
    assert outputs[0].shape == (1, 1, 64, 64)
    assert torch.equal(*outputs)


def test_every_weight_gets_a_gradient(network):
    network.train()
    network(torch.rand(2, 5, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.zero_grad()
    network.eval()


def test_brs_as_published_runs_on_it(network):
    net = interactify.wrap(network, variables="click_maps", energy="brs", resolution=64, max_evaluations=5, zoom=False)
    assert net.spec.mean == pytest.approx((0.485, 0.456, 0.406))
    photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    session = net.session(photo)
    before = session.result.mask[20, 30]
    result = session.click(30, 20, positive=not before)
    assert result.evaluations >= 1
    assert result.mask.shape == (64, 64)


def test_a_narrower_one_has_channels_in_proportion(network):
    narrow = zoo.brs_densenet(growth=8)
    wide = {name: tensor.shape for name, tensor in network.state_dict().items() if name.endswith("weight")}
    for name in ("encoder.denseblock4.denselayer16.conv2.weight", "decoder.0.convolutions.0.0.weight"):
        own = narrow.state_dict()[name].shape
        assert tuple(own[:2]) == (wide[name][0] // 4, wide[name][1] // 4)
    assert narrow.coarse[0].in_channels == 8
    assert narrow.fine_decoder.last[1].in_channels == 4
    assert narrow.eval()(torch.zeros(1, 5, 64, 64)).shape == (1, 1, 64, 64)


@pytest.mark.parametrize("wrong", [{"fine": 1}, {"growth": 7}, {"growth": True}, {"growth": 16, "pretrained": True}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(OptionError):
        zoo.brs_densenet(**wrong)
