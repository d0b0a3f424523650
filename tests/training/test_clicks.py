"""Training for clicks: a network that finds both of two discs learns which one is clicked."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import interactify
from interactify import ClickMaps
from interactify.errors import CheckpointError, OptionError
from interactify.learning import Recipe, load_click_network, photos_in
from interactify.training import train_for_clicks

SIDE = 48
MAPS = ClickMaps("gaussian", radius=6)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of two red discs each, in different corners."""
    folder = tmp_path_factory.mktemp("discs")
    for part in ("images", "masks"):
        (folder / part).mkdir()
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for k in range(16):
        image, mask = np.full((SIDE, SIDE, 3), 40, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
        for label, (cy, cx) in enumerate([(13, 13), (34, 34)] if k % 2 else [(13, 34), (34, 13)], 1):
            disc = (rows - cy) ** 2 + (columns - cx) ** 2 < random.integers(6, 9) ** 2
            image[disc], mask[disc] = (220, 30, 30), label
        Image.fromarray(image).save(folder / f"images/{k}.png")
        Image.fromarray(mask).save(folder / f"masks/{k}.png")
    return folder


class Redness(nn.Module):
    """Finds what is red; its second convolution can learn more."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv2d(3, 12, 3, padding=1)
        self.mid = nn.Conv2d(12, 12, 5, padding=2)
        self.decoder = nn.Conv2d(12, 1, 1)

    def forward(self, x):
        red = 4 * (x[:, :1] - x[:, 1:2])
        return red - 2 + self.decoder(torch.relu(self.mid(torch.relu(self.encoder(x)))))


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = Redness()
    with torch.no_grad():  # at first it only looks at the colour
        made.decoder.weight.mul_(0.05)
        made.decoder.bias.zero_()
    made.pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "input_size": (3, SIDE, SIDE)}
    return made.eval()


QUICK = {"side": SIDE, "progress": False, "device": "cpu", "maps": MAPS, "held_back": 0.25}
RECIPE = Recipe(steps=60, batch=8, learning_rate=1e-2, warmup=10, average=0.9, weight_decay=0.0)


@pytest.mark.filterwarnings("ignore::interactify.InteractifyWarning")
def test_it_learns_which_disc_is_clicked(network, photos, tmp_path):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    done = train_for_clicks(network, photos, tmp_path, recipe=RECIPE, **QUICK)
    assert done.before[1] < 0.6  # it marks both discs, whatever is clicked
    assert done.after[1] > done.before[1] + 0.2
    assert done.after[1] > 0.75
    assert str(done).startswith("clicks")
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())

    # The trained network answers in a session, without refinement, and again when it is read from its folder.
    image = np.asarray(Image.open(photos / "images/1.png"))
    results = []
    for trained in (done.network, load_click_network(network, tmp_path)):
        net = interactify.wrap(trained, mean=0.0, std=1.0, resolution=SIDE, max_evaluations=0, zoom=False, divisor=1)
        results.append(net.session(image).click(34, 34, positive=False).mask)
    assert results[0][13, 13]
    assert not results[0][34, 34]
    assert np.array_equal(*results)


@pytest.mark.parametrize("method", ["ritm", "brs"])
def test_both_methods_run_and_the_stem_alone_leaves_the_rest(network, photos, tmp_path, method):
    options = {**QUICK, "maps": None}
    done = train_for_clicks(
        network, photos, tmp_path, method=method, parts="stem", recipe=replace(RECIPE, steps=3), **options
    )
    for name, tensor in network.state_dict().items():
        assert torch.equal(done.network.model.state_dict()[name], tensor)
    assert any(kernel.abs().max() > 0 for kernel in done.network.kernels)
    assert done.network.click_maps == (ClickMaps("disk", 5, True) if method == "ritm" else ClickMaps("distance"))
    assert done.steps == 3


def test_low_rank_deltas_are_merged(network, photos, tmp_path):
    done = train_for_clicks(network, photos, tmp_path, parts="low-rank", recipe=replace(RECIPE, steps=3), **QUICK)
    assert set(done.network.model.state_dict()) == set(network.state_dict())
    assert not torch.equal(done.network.model.mid.weight, network.mid.weight)


def test_a_click_network_is_trained_on(network, photos, tmp_path):
    first = train_for_clicks(network, photos, tmp_path / "a", recipe=replace(RECIPE, steps=5), **QUICK)
    kernels = [kernel.clone() for kernel in first.network.kernels]
    second = train_for_clicks(first.network, photos, tmp_path / "b", recipe=replace(RECIPE, steps=2), **QUICK)
    assert second.before == pytest.approx(first.after, abs=1e-6)
    assert all(torch.equal(kernel, before) for kernel, before in zip(first.network.kernels, kernels, strict=True))


def test_several_classes_need_a_target(photos, tmp_path):
    class Classes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x):
            return {"out": self.conv(x)}

    network, quick = Classes(), {**QUICK, "recipe": replace(RECIPE, steps=2)}
    with pytest.raises(OptionError, match="4 classes"):
        train_for_clicks(network, photos, tmp_path / "a", **quick)
    assert train_for_clicks(network, photos, tmp_path / "b", target=2, **quick).steps == 2


@pytest.mark.parametrize(
    "wrong",
    [{"method": "sam"}, {"parts": "head"}, {"held_back": 1.5}, {"side": 0}, {"loss": "dice"}, {"held_back": True}],
)
def test_wrong_options_are_refused_before_any_work(network, photos, tmp_path, wrong):
    with pytest.raises(OptionError):
        train_for_clicks(network, photos, tmp_path / "out", **{**QUICK, "recipe": RECIPE, **wrong})
    assert not (tmp_path / "out").exists()


def test_photos_without_objects_are_refused(network, photos, tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for k in range(3):
        Image.open(photos / f"images/{k}.png").save(tmp_path / f"images/{k}.png")
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(tmp_path / f"masks/{k}.png")
    with pytest.raises(OptionError, match="held back, got none"):
        train_for_clicks(network, tmp_path, tmp_path / "a", recipe=RECIPE, **QUICK)
    kept = photos_in(photos)[:1]
    with pytest.raises(OptionError, match="in a row without one"):
        train_for_clicks(network, photos_in(tmp_path), tmp_path / "b", recipe=RECIPE, **{**QUICK, "held_back": kept})


def test_damaged_folders_of_click_networks_are_refused(network, photos, tmp_path):
    train_for_clicks(network, photos, tmp_path, recipe=replace(RECIPE, steps=1), **QUICK)
    with pytest.raises(CheckpointError, match=r"clicks\.json"):
        load_click_network(network, tmp_path / "none")
    config = json.loads((tmp_path / "clicks.json").read_text())
    (tmp_path / "clicks.json").write_text(json.dumps({**config, "click_maps": {"kind": "squares"}}))
    with pytest.raises(CheckpointError, match="squares"):
        load_click_network(network, tmp_path)
