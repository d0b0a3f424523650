"""What a network is trained on when it learns its own classes: photos as it sees them, labels that move with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import interactify
from interactify.errors import PhotoError
from interactify.inspection.outputs import OutputSpec
from interactify.learning import Drawing, LabelledPhoto
from interactify.learning.augment import Motion
from interactify.learning.class_task import ClassLogits, ClassTask, exclusive_loss, unclicked_iou, unclicked_ious
from tests.fixtures.red_photos import red_photo, wrapped

STILL = Motion((1.0, 1.0), 0.0, 0.0, 0.0)


@pytest.fixture
def photos(tmp_path):
    found = []
    for number in range(2):
        photo, classes = red_photo(number)
        Image.fromarray(photo).save(tmp_path / f"{number}.png")
        Image.fromarray(classes).save(tmp_path / f"{number}-labels.png")
        found.append(LabelledPhoto(tmp_path / f"{number}.png", tmp_path / f"{number}-labels.png", "classes"))
    return found


def task(photos, net, **options):
    return ClassTask(Drawing(photos), photos, net.network, **options)


@pytest.mark.parametrize("options", [{}, {"resolution": 96}, {"resolution": 96, "fit": "squash"}, {"divisor": 32}])
def test_a_photo_that_is_not_moved_is_what_the_wrapped_network_sees(photos, options):
    net = wrapped(3, **options)
    still = task(photos[:1], net, motion=STILL, colours=0.0, flip=False)
    image, labels = still.draw(torch.Generator().manual_seed(0), 1, 0.0)
    picture = net.picture(photos[0].image)
    view = net.network.view(picture.size)
    seen = net.network.image(torch.from_numpy(red_photo(0)[0]).permute(2, 0, 1).float() / 255, view)
    assert image.shape == seen.shape
    assert torch.quantile((image - seen).abs(), 0.9) < 0.03  # resized twice, kept in half precision
    height, width = view.content_size
    truth = np.array(Image.fromarray(red_photo(0)[1]).resize((width, height), Image.Resampling.NEAREST))
    assert (labels[0, :height, :width].numpy() == truth).mean() > 0.97
    assert (labels[0, height:] == 255).all() and (labels[0, :, width:] == 255).all()


def test_labels_move_with_their_photo(photos):
    net = wrapped(3)
    image, labels = task(photos, net, colours=0.0).draw(torch.Generator().manual_seed(3), 8, 0.0)
    pixels = net.network.photo(image)
    red, blue = pixels[:, 0] > 0.6, pixels[:, 2] > 0.6
    known = labels != 255
    assert known.float().mean() > 0.6
    assert ((labels == 1) == red)[known].float().mean() > 0.97
    assert ((labels == 2) == blue)[known].float().mean() > 0.97
    assert len({bytes(each.numpy().tobytes()) for each in labels}) == 8


def test_flips_can_be_turned_off(photos):
    net = wrapped(3)
    plain = task(photos[:1], net, motion=STILL, flip=False).draw(torch.Generator().manual_seed(0), 6, 0.0)[1]
    assert (plain == plain[0]).all()
    flipped = task(photos[:1], net, motion=STILL).draw(torch.Generator().manual_seed(0), 6, 0.0)[1]
    assert any((each == plain[0].flip(1)).float().mean() > 0.97 for each in flipped)


def test_the_loss_of_right_logits_is_small_and_unknown_pixels_do_not_count(photos):
    labels = torch.tensor([[[0, 1, 2, 255]]])
    right = nn.functional.one_hot(labels.clamp(max=2), 3).permute(0, 3, 1, 2) * 40.0 - 20
    assert exclusive_loss(right, labels) < 1e-4
    changed = right.clone()
    changed[..., 3] = torch.tensor([9.0, 5.0, -3.0]).view(1, 3, 1)
    assert torch.equal(exclusive_loss(changed, labels), exclusive_loss(right, labels))
    assert exclusive_loss(-right, labels) > 10
    assert exclusive_loss(right, torch.full_like(labels, 255)) == 0


@pytest.mark.parametrize(("classes", "activation"), [(1, None), (3, None), (3, "sigmoid-logits")])
def test_a_step_down_the_gradient_lowers_the_loss(photos, classes, activation):
    net = wrapped(classes, activation=activation)
    learned = photos if classes > 1 else [replace(each) for each in photos]
    network = ClassLogits(net.unwrap(), net.spec.output)
    own = task(learned, net)
    batch = own.draw(torch.Generator().manual_seed(0), 2, 0.0)
    loss = own.loss(network, batch)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(network.parameters(), gradients, strict=True):
            weight -= 0.01 * gradient
    assert own.loss(network, batch) < loss


def test_logits_before_a_sigmoid_are_trained_and_modes_stay_evaluation():
    class Modes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            assert not self.training
            return {"out": torch.sigmoid(self.conv(x) * 50)}

    net = interactify.wrap(Modes().eval(), mean=0.5, std=0.5)
    network = ClassLogits(net.unwrap(), net.spec.output).train()
    image = torch.ones(1, 3, 8, 8)
    assert torch.allclose(network(image), net.unwrap().conv(image) * 50)  # not through a rounded probability


def test_another_way_to_run_the_network():
    network = ClassLogits(nn.Identity(), OutputSpec((), 3, "none", 1.0, ""), lambda model, image: model(image) * 2)
    assert torch.equal(network(torch.ones(1, 3, 2, 2)), torch.full((1, 3, 2, 2), 2.0))


def test_iou_of_one_class_is_the_mean_over_photos_and_of_several_over_classes(photos, tmp_path):
    net = wrapped(3)

    class Red(nn.Module):  # right for red, and nothing is blue
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, image):
            red = image[:, :1] * self.scale
            return torch.cat([torch.full_like(red, 0.2), red, torch.full_like(red, -9.0)], 1)

    truth = [red_photo(k)[1] for k in range(2)]
    background = sum((each == 0).sum() for each in truth) / sum((each != 1).sum() for each in truth)
    assert unclicked_iou(Red(), photos, net.network) == pytest.approx((background + 1 + 0) / 3, abs=1e-6)
    assert unclicked_ious(Red(), photos, net.network) == pytest.approx([background, 1, 0], abs=1e-6)

    class RedAlone(Red):
        def forward(self, image):
            return image[:, :1] * self.scale - 0.2

    one = wrapped(1)
    Image.fromarray(np.where(truth[1] == 1, 255, 0).astype(np.uint8)).save(tmp_path / "1-labels.png")  # unknown
    assert unclicked_iou(RedAlone(), photos, one.network) == pytest.approx((1 + 1) / 2)
    Image.fromarray((truth[1] == 0).astype(np.uint8)).save(tmp_path / "1-labels.png")
    assert unclicked_iou(RedAlone(), photos, one.network) == pytest.approx((1 + 0) / 2)


def test_a_mask_of_another_size_is_refused(photos, tmp_path):
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "0-labels.png")
    with pytest.raises(PhotoError, match="64 wide and 48 high"):
        task(photos[:1], wrapped(3)).draw(torch.Generator(), 1, 0.0)
