"""Which weights are trained, and in which mode the batch norms of the others are."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from interactify import reconfigure_stem
from interactify.errors import OptionError
from interactify.learning.parts import groups_of, in_training_mode, only_trained, optimiser_groups


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return smp.Unet("tu-resnet10t", encoder_weights=None, decoder_channels=(16, 16, 16, 8, 8))


@pytest.fixture(scope="module")
def reconfigured(unet):
    return reconfigure_stem(unet.eval(), maps=2, kernels="zero")


def names(groups):
    return [name for group in groups for name in group.names]


def test_the_stem_alone_is_the_new_kernels(reconfigured):
    assert set(names(groups_of(reconfigured, "stem"))) == {"kernels.0"}


def test_with_the_decoder_the_encoder_is_left_out(reconfigured):
    found = names(groups_of(reconfigured, "stem+decoder"))
    assert "kernels.0" in found
    assert any("decoder" in name for name in found)
    assert any("segmentation_head" in name for name in found)
    assert not any("encoder" in name for name in found)


def test_everything_is_everything_once(reconfigured):
    groups = groups_of(reconfigured, "all")
    assert sorted(names(groups)) == sorted(name for name, _ in reconfigured.named_parameters())
    assert [group.rate for group in groups] == [1.0, 0.15]


def test_a_network_without_new_kernels_has_no_stem_to_train(unet):
    with pytest.raises(OptionError, match="reconfigure_stem"):
        groups_of(unet, "stem")
    with pytest.raises(OptionError, match="one of stem"):
        groups_of(unet, "head")


def test_a_network_without_an_encoder_is_trained_as_a_whole():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 1))
    assert names(groups_of(plain, "all")) == [name for name, _ in plain.named_parameters()]
    with pytest.raises(OptionError, match="encoder"):
        groups_of(plain, "stem+decoder")


def test_biases_and_norms_do_not_decay(unet):
    groups = optimiser_groups(unet, groups_of(unet, "all"), 1e-3, 0.1)
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    for module in unet.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert id(module.weight) not in decayed
        if isinstance(module, nn.Conv2d):
            assert id(module.weight) in decayed
            assert module.bias is None or id(module.bias) not in decayed
    assert sum(len(group["params"]) for group in groups) == len(list(unet.parameters()))


def test_only_the_trained_have_gradients_and_their_state_is_restored(reconfigured):
    first = next(iter(reconfigured.model.parameters()))
    first.requires_grad_(False)
    with only_trained(reconfigured, groups_of(reconfigured, "stem")):
        assert [name for name, p in reconfigured.named_parameters() if p.requires_grad] == ["kernels.0"]
    assert not first.requires_grad
    assert all(p.requires_grad for name, p in reconfigured.named_parameters() if p is not first)
    first.requires_grad_(True)


def test_statistics_of_an_encoder_that_is_not_trained_stay(reconfigured):
    in_training_mode(reconfigured, groups_of(reconfigured, "stem+decoder"))
    norms = [(name, module) for name, module in reconfigured.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert {module.training for name, module in norms if "encoder" in name} == {False}
    assert {module.training for name, module in norms if "decoder" in name} == {True}
    reconfigured.eval()
