"""transformers' networks for depth and matting: recognised by their structure, and their numbers follow clicks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import interactify
from interactify.adapters import knowledge_of
from interactify.errors import InteractifyWarning, ModelError, PhotoError
from tests.fixtures.transformers_values import NETWORKS, value_network

pytest.importorskip("transformers")

MATTES = ("vitmatte", "sapiens2")
METRIC = ("depth_anything-metric", "glpn", "zoedepth")
SIZE = {"dpt": (64, 64), "dpt-dinov2": (70, 84), "depth_anything": (70, 84)}
SIZE |= {name: (70, 84) for name in NETWORKS if name.startswith(("depth_anything", "prompt"))}


def photo_for(name: str) -> np.ndarray:
    """A photo of the network's own size, for vitmatte with the trimap as the fourth channel."""
    height, width = SIZE.get(name, (64, 96))
    photo = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    if name != "vitmatte":
        return photo
    trimap = np.zeros((height, width, 1), np.uint8)
    trimap[16:48], trimap[24:40, 30:60] = 128, 255
    return np.concatenate([photo, trimap], 2)


def open_quietly(name: str, model: nn.Module | None = None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InteractifyWarning)  # no checkpoint states the normalisation
        options = {"resolution": max(SIZE.get(name, (64, 96)))} | options
        return interactify.wrap_values(model or value_network(name), **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_wrapped_at_once_and_follows_a_value(name):
    model = value_network(name)
    net = open_quietly(name, model)
    spec = net.net.spec
    photo = photo_for(name)
    session = net.session(photo)
    image = (torch.from_numpy(photo).permute(2, 0, 1)[None] / 255 - torch.tensor(spec.mean)[:, None, None]) / (
        torch.tensor(spec.std)[:, None, None]
    )
    with torch.no_grad():
        raw = model(image)
    own = raw.alphas if name in MATTES else raw.predicted_depth[:, None]
    if tuple(own.shape[2:]) != photo.shape[:2]:
        own = nn.functional.interpolate(own, size=photo.shape[:2], mode="bilinear", align_corners=False)
    np.testing.assert_array_equal(session.result.values, own[0, 0].numpy())

    assert spec.output.name == ("alphas" if name in MATTES else "predicted_depth")
    open_scale = name not in (*MATTES, *METRIC)
    assert net.alignment == ("scale_shift" if open_scale else "none")
    assert net.tolerance == (0.02 if name in MATTES else None)
    assert ("up to scale and shift" if open_scale else "opacity" if name in MATTES else "depth") in net.describe()

    values = session.result.values
    points = [(20, 20), (40, 30)]
    goals = [0.7 * session.result.at(*at) + 0.3 * float(values.mean()) for at in points]
    result = session.add([interactify.ValueClick(*at, goal) for at, goal in zip(points, goals, strict=True)])
    assert result.satisfied
    for at, goal in zip(points, goals, strict=True):
        assert abs(result.at(*at) - goal) <= result.tolerance * 1.001


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in MATTES])
def test_wrap_says_which_function_is_for_a_depth(name):
    with pytest.raises(ModelError, match=r"whose map is a number for each pixel .*Try interactify\.wrap_values"):
        interactify.wrap(value_network(name))


def test_a_depth_may_be_turned_into_logits_and_a_matte_is_a_probability_too():
    options = {"resolution": 64, "mean": 0.5, "std": 0.5}
    nearer = interactify.wrap(value_network("glpn"), output=lambda raw: 2.0 - raw["predicted_depth"], **options)
    assert nearer.spec.output.classes == 1
    assert interactify.wrap(value_network("sapiens2"), **options).spec.output.activation == "sigmoid"


def test_what_the_user_states_goes_before_what_is_known():
    net = open_quietly("depth_anything", alignment="none", tolerance=0.5)
    assert (net.alignment, net.tolerance) == ("none", 0.5)
    assert open_quietly("dpt", fit="letterbox").net.spec.fit == "letterbox"
    assert open_quietly("vitmatte", mean=0.25, std=0.5).net.spec.mean == (0.25,) * 4


def test_vitmatte_sees_what_its_processor_makes_of_photo_and_trimap():
    from transformers import VitMatteImageProcessor

    photo = photo_for("vitmatte")
    expected = VitMatteImageProcessor()(images=photo[..., :3], trimaps=photo[..., 3], return_tensors="pt").pixel_values
    seen = open_quietly("vitmatte").session(photo).refiner.suffix.image
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-6)
    with pytest.raises(PhotoError, match=r"\(H, W, 4\)"):
        open_quietly("vitmatte").session(photo[..., :3])


def test_glpn_and_depth_anything_see_what_their_processors_make_of_a_photo():
    from transformers import DPTImageProcessor, GLPNImageProcessor

    photo = photo_for("glpn")
    expected = GLPNImageProcessor()(images=photo, return_tensors="pt").pixel_values
    seen = open_quietly("glpn").session(photo).refiner.suffix.image
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-6)
    photo = photo_for("depth_anything")
    expected = DPTImageProcessor(do_resize=False)(images=photo, return_tensors="pt").pixel_values
    seen = open_quietly("depth_anything").session(photo).refiner.suffix.image
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-6)


def test_dpt_takes_squares_of_a_photo_of_any_shape():
    session = open_quietly("dpt", resolution=128).session(np.zeros((60, 120, 3), np.uint8))
    assert session.refiner.view.content_size == (128, 128) and session.result.values.shape == (60, 120)


def test_classes_of_ones_own_are_recognised_and_a_module_around_one_is_not():
    from transformers import GLPNForDepthEstimation

    class Mine(GLPNForDepthEstimation):
        pass

    class Around(nn.Module):
        def __init__(self, inside):
            super().__init__()
            self.inside = inside

        def forward(self, image):
            return 2.0 - self.inside(image).predicted_depth[:, None]

    own = Mine(value_network("glpn").config).eval()
    assert knowledge_of(own).numbers is not None
    assert knowledge_of(Around(own)).numbers is None and knowledge_of(Around(own)).family


def test_a_saved_session_goes_on(tmp_path):
    net = open_quietly("vitmatte")
    session = net.session(photo_for("vitmatte"))
    session.click(20, 20, session.result.at(20, 20) + 0.1)
    loaded = net.load_session(session.save(tmp_path / "session.npz"), photo_for("vitmatte"))
    np.testing.assert_array_equal(loaded.result.values, session.result.values)
    np.testing.assert_array_equal(loaded.click(60, 40, 0.5).values, session.click(60, 40, 0.5).values)
