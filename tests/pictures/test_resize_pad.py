"""A click arrives where it should, and what is sampled at a click is what the mask shows there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interactify.errors import InteractionError, OptionError, PhotoError
from interactify.pictures.resize_pad import View, sample

sides = st.integers(1, 90)
divisors, least_sides = st.sampled_from([1, 2, 7, 32]), st.sampled_from([1, 5, 64])
letterboxed = st.builds(
    lambda height, width, resolution, divisor, smallest: View.fit(
        (height, width), resolution=resolution, divisor=divisor, smallest=smallest
    ),
    sides,
    sides,
    st.none() | st.integers(1, 130),
    divisors,
    least_sides,
)
squashed = st.builds(
    lambda height, width, resolution, divisor, smallest: View.fit(
        (height, width), resolution=resolution, divisor=divisor, smallest=smallest, fit="squash"
    ),
    sides,
    sides,
    st.integers(1, 130),
    divisors,
    least_sides,
)
views = letterboxed | squashed
quick = settings(max_examples=60, deadline=None, derandomize=True)


def every_pixel(view: View) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.arange(side) for side in view.photo_size), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def random_maps(view: View, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(view.photo_size[0] * 1000 + view.photo_size[1])
    return torch.randn(2, 3, *view.network_size, generator=generator, dtype=torch.float64).to(dtype)


@quick
@given(view=views, dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]))
@example(view=View.fit((1, 1), divisor=32), dtype=torch.float32)
@example(view=View.fit((2000, 21), resolution=384, divisor=32), dtype=torch.float32)
@example(view=View.fit((21, 2000), resolution=1024, divisor=32), dtype=torch.float32)
@example(view=View.fit((40, 30), resolution=500), dtype=torch.float32)
@example(view=View.fit((64, 64)), dtype=torch.float32)
def test_sampling_at_a_point_is_what_the_photo_sized_map_shows_there(view, dtype):
    maps = random_maps(view, dtype)
    shown = view.to_photo(maps)
    sampled = sample(maps, view.points_to_network(every_pixel(view)))
    assert shown.shape == (2, 3, *view.photo_size)
    assert shown.dtype == sampled.dtype == dtype
    assert torch.equal(sampled.view_as(shown), shown)  # to the bit, hence a satisfied click is in the mask


@quick
@given(view=views)
@example(view=View.fit((2000, 21), resolution=384, divisor=32))
def test_to_photo_is_bilinear_resizing_of_the_content(view):
    maps = random_maps(view, torch.float64)
    height, width = view.content_size
    expected = F.interpolate(maps[..., :height, :width], size=view.photo_size, mode="bilinear", align_corners=False)
    assert torch.allclose(view.to_photo(maps), expected, rtol=0, atol=1e-9)


@quick
@given(view=views, seed=st.integers(0, 99))
def test_sample_is_grid_sample_between_pixels_too(view, seed):
    maps = random_maps(view, torch.float64)
    height, width = view.network_size
    points = torch.rand(11, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.2
    points = points * torch.tensor([width, height])  # some of them outside
    scaled = (2 * points + 1) / torch.tensor([width, height]) - 1
    grid = scaled.view(1, 1, -1, 2).expand(2, -1, -1, -1)
    expected = F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)[:, :, 0]
    assert torch.allclose(sample(maps, points), expected, rtol=0, atol=1e-9)


@quick
@given(view=letterboxed)
@example(view=View.fit((1, 1), divisor=32))
@example(view=View.fit((2000, 21), resolution=384, divisor=32))
def test_sizes_fit_the_options(view):
    (height, width), (high, wide), (padded_high, padded_wide) = view.photo_size, view.content_size, view.network_size
    scale = max(high, wide) / max(height, width)
    assert abs(high - height * scale) <= 0.5 or high == 1
    assert abs(wide - width * scale) <= 0.5 or wide == 1
    assert high <= padded_high and wide <= padded_wide
    assert view.to_network(torch.zeros(3, height, width)).shape == (1, 3, padded_high, padded_wide)


@quick
@given(size=st.tuples(sides, sides), resolution=st.integers(1, 130), divisor=divisors)
def test_a_squashed_photo_is_a_square(size, resolution, divisor):
    view = View.fit(size, resolution=resolution, divisor=divisor, smallest=1, fit="squash")
    assert view.photo_size == size and view.content_size == (resolution, resolution)
    side = view.network_size[0]
    assert view.network_size == (side, side) and side % divisor == 0 and resolution <= side < resolution + divisor
    assert view.to_network(torch.zeros(3, *size)).shape == (1, 3, side, side)


def test_squashed_points_and_pixels():
    view = View.fit((100, 400), resolution=200, divisor=8, fit="squash")
    assert view.network_size == (200, 200)
    assert view.points_to_network([(0, 0), (399, 99), (200, 50)]).tolist() == [[0, 0.5], [199, 198.5], [99.75, 100.5]]
    assert view.points_to_photo([(99.75, 100.5)]).tolist() == [[200, 50]]
    photo = torch.zeros(1, 100, 400)
    photo[:, 50:, 200:] = 1  # the lower right quarter stays one
    seen = view.to_network(photo)[0, 0]
    assert seen[104:, 104:].min() == 1 and seen[:96].max() == 0 and seen[:, :96].max() == 0
    back = view.to_photo(seen[None, None])[0, 0]
    assert (back > 0.5).float().sum() == 50 * 200


@pytest.mark.parametrize("fit", ["crop", "", None, 1, ["squash"]])
def test_another_fit(fit):
    with pytest.raises(OptionError, match="'letterbox' or 'squash'"):
        View.fit((20, 20), resolution=64, fit=fit)


def test_to_squash_needs_a_resolution():
    with pytest.raises(OptionError, match="resolution=512"):
        View.fit((20, 20), fit="squash")


def test_resolution_divisor_and_smallest():
    assert View.fit((300, 400)).content_size == (300, 400)
    assert View.fit((3000, 4000)).content_size == (768, 1024)
    assert View.fit((3000, 4000), resolution=4000).content_size == (3000, 4000)
    assert View.fit((30, 40), resolution=80).content_size == (60, 80)
    assert View.fit((30, 40)).network_size == (64, 64)
    assert View.fit((30, 40), smallest=1).network_size == (30, 40)
    assert View.fit((30, 70), divisor=32, smallest=50).network_size == (64, 96)
    assert View.fit((1, 1), divisor=32, smallest=1) == View((1, 1), (1, 1), (32, 32))
    assert View.fit((1, 9000), resolution=512).content_size == (1, 512)


@pytest.mark.parametrize("name", ["resolution", "divisor", "smallest"])
@pytest.mark.parametrize("value", [0, -3, 2.5, "64", True])
def test_options_have_to_be_whole_and_positive(name, value):
    with pytest.raises(OptionError, match=name):
        View.fit((20, 20), **{name: value})


def test_wrong_sizes_are_clear_errors():
    with pytest.raises(PhotoError, match="no pixels"):
        View.fit((0, 5))
    view = View.fit((20, 30), divisor=32)
    for photo in (torch.zeros(3, 30, 20), torch.zeros(1, 3, 20, 30), torch.zeros(3, 20, 30, dtype=torch.uint8)):
        with pytest.raises(PhotoError, match="20, 30"):
            view.to_network(photo)
    with pytest.raises(OptionError, match="64, 64"):
        view.to_photo(torch.zeros(1, 1, 20, 30))


@quick
@given(view=letterboxed, where=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_white_dot_arrives_where_its_point_does(view, where):
    height, width = view.photo_size
    x, y = round(where[0] * (width - 1)), round(where[1] * (height - 1))
    photo = torch.zeros(1, height, width, dtype=torch.float64)
    photo[0, y, x] = 1
    dot = view.to_network(photo)[0, 0]
    ((x_n, y_n),) = view.points_to_network([(x, y)]).tolist()
    # The brightest pixels, by axis (resizing is separable). The padding and, where a small photo is enlarged, the
    # stretch outside its border pixel's centre repeat the brightest value: one of them must be within half a pixel.
    for profile, place in ((dot.sum(0), x_n), (dot.sum(1), y_n)):
        brightest = torch.nonzero(profile >= profile.max() - 1e-9).flatten()
        assert (brightest - place).abs().min() <= 0.5 + 1e-6


@quick
@given(view=views)
def test_the_inner_weight_of_a_dot_is_at_its_point(view):
    # Away from the border, where the filter is cut off, the centre of mass has to agree as well as the brightest pixel.
    (height, width), (high, wide) = view.photo_size, view.content_size
    if min(height, width, high, wide) < 8:
        return
    x, y = width // 2, height // 2
    photo = torch.zeros(1, height, width, dtype=torch.float64)
    photo[0, y, x] = 1
    dot = view.to_network(photo)[0, 0, :high, :wide]
    ((x_n, y_n),) = view.points_to_network([(x, y)]).tolist()
    mass_x = (dot.sum(0) * torch.arange(wide)).sum() / dot.sum()
    mass_y = (dot.sum(1) * torch.arange(high)).sum() / dot.sum()
    assert abs(mass_x - x_n) < 0.5 and abs(mass_y - y_n) < 0.5


@quick
@given(view=views)
def test_points_come_back(view):
    points = every_pixel(view).double()
    there = view.points_to_network(points)
    high, wide = view.content_size
    assert there.min() >= 0 and there[:, 0].max() <= wide - 1 and there[:, 1].max() <= high - 1
    back = view.points_to_photo(there)
    off = (back - points).abs()
    for axis, (photo_side, network_side) in enumerate(zip(view.photo_size[::-1], view.content_size[::-1], strict=True)):
        reach = photo_side / network_side  # photo pixels in a network pixel
        inside = (points[:, axis] + 0.5 >= reach / 2) & (points[:, axis] + 0.5 <= photo_side - reach / 2)
        assert (off[inside, axis] < 1e-9).all()
        assert (off[:, axis] <= max(0.0, reach / 2 - 0.5) + 1e-9).all()


def test_corners_and_hand_computed_points():
    view = View.fit((300, 400), resolution=200, divisor=32)
    there = view.points_to_network([(0, 0), (399, 299), (1, 1), (200.5, 100.5)])
    assert there.tolist() == [[0, 0], [199, 149], [0.25, 0.25], [100.0, 50.0]]
    assert view.points_to_photo([(0, 0), (199, 149), (223, 159)]).tolist() == [[0.5, 0.5], [398.5, 298.5], [399, 299]]
    larger = View.fit((2, 2), resolution=8, smallest=1)
    assert larger.points_to_network([(0, 1)]).tolist() == [[1.5, 5.5]]


@pytest.mark.parametrize("points", [[(1, float("nan"))], [(float("inf"), 0)], [1, 2], [(1, 2, 3)], [("a", "b")], None])
def test_points_that_are_none_are_refused(points):
    with pytest.raises(InteractionError):
        View.fit((9, 9)).points_to_network(points)


def test_no_points_are_no_points():
    view = View.fit((9, 9))
    assert view.points_to_network([]).shape == (0, 2)
    assert sample(torch.zeros(2, 3, 64, 64), view.points_to_network(np.zeros((0, 2)))).shape == (2, 3, 0)


def test_the_padding_repeats_the_border():
    view = View.fit((5, 6), divisor=8, smallest=8)
    photo = torch.rand(3, 5, 6)
    padded = view.to_network(photo)[0]
    assert torch.equal(padded[:, :5, :6], photo)
    assert torch.equal(padded[:, 5:, :6], photo[:, 4:].expand(3, 3, 6))
    assert torch.equal(padded[:, :, 6:], padded[:, :, 5:6].expand(3, 8, 2))


def test_resizing_is_antialiased_and_keeps_a_plain_photo_plain():
    # Without antialiasing every sample would fall between two white columns.
    stripes = torch.tensor([0.0, 1.0, 1.0, 0.0]).repeat(64).expand(1, 256, 256).contiguous()
    resized = View.fit((256, 256), resolution=64).to_network(stripes)
    assert (resized[..., 1:-1] - 0.5).abs().max() < 0.01
    plain = View.fit((37, 91), resolution=200, divisor=32).to_network(torch.full((3, 37, 91), 0.3))
    assert torch.allclose(plain, torch.tensor(0.3), atol=1e-6)


def test_nothing_is_shared_with_what_came():
    view = View.fit((64, 64))
    photo = torch.rand(3, 64, 64)
    before = photo.clone()
    view.to_network(photo).zero_()
    view.to_photo(photo[None]).zero_()
    assert torch.equal(photo, before)


def test_sample_is_exact_at_whole_pixels_and_constant_beyond_the_border():
    maps = torch.randn(2, 3, 4, 5)
    y, x = torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=1).double()
    assert torch.equal(sample(maps, points).view(2, 3, 4, 5), maps)
    beyond = torch.tensor([[-3.0, -0.2], [4.4, 3.4], [99.0, 0.0]])
    assert torch.equal(sample(maps, beyond), torch.stack([maps[..., 0, 0], maps[..., 3, 4], maps[..., 0, 4]], dim=-1))


def test_sample_does_not_look_at_a_neighbour_of_no_weight_beyond_the_border():
    maps = torch.full((1, 1, 3, 3), torch.nan)
    maps[..., 2, 2] = 7.0
    assert sample(maps, torch.tensor([[2.0, 2.0]])).item() == 7.0


def test_gradients_of_sample_and_to_photo():
    points = torch.tensor([[0.3, 1.7], [3.0, 2.0], [0.3, 1.7], [-1.0, 9.0]], dtype=torch.float64)
    maps = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: sample(m, points), maps)
    assert torch.autograd.gradgradcheck(lambda m: sample(m, points) ** 2, maps)
    inside = points[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: sample(maps.detach()[..., :3, :4], p[:1]), inside)
    view = View.fit((7, 3), resolution=4, smallest=5)
    maps = torch.randn(1, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(view.to_photo, maps)


def test_channels_last_maps_are_read_alike():
    maps = torch.randn(2, 3, 64, 64)
    view = View.fit((50, 33))
    points = view.points_to_network([(3, 4), (32, 49)])
    turned = maps.to(memory_format=torch.channels_last)
    assert torch.equal(sample(turned, points), sample(maps, points))
    assert torch.equal(view.to_photo(turned), view.to_photo(maps))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_a_gpu_the_bits_agree_too(dtype):
    view = View.fit((375, 500), resolution=384, divisor=32)
    maps = random_maps(view, dtype).cuda()
    points = view.points_to_network(every_pixel(view))
    shown = view.to_photo(maps)
    assert shown.device.type == "cuda" and torch.equal(sample(maps, points).view_as(shown), shown)
    assert torch.equal(sample(maps, points.cuda()).view_as(shown), shown)
    leaf = maps.float().requires_grad_()
    often = points[:1].repeat(500, 1)  # many clicks in one place: the gradient's order of summing must not change
    weights = torch.randn(500, generator=torch.Generator().manual_seed(0)).cuda()
    gradients = [torch.autograd.grad((sample(leaf, often) * weights).sum(), leaf)[0] for _ in range(5)]
    assert all(torch.equal(gradients[0], gradient) for gradient in gradients[1:])
