"""Classes with a sigmoid each: stated for logits, checked for probabilities, and followed everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import interactify
from interactify.errors import OptionError
from interactify.inspection.outputs import locate_output, to_logits
from interactify.network.targets import target_logit
from tests.fixtures import networks

SIZE = (12, 20)
PHOTO = networks.random_photo()


def wrapped(form: Any = lambda z: z, classes: int = 3, **options: Any) -> interactify.Interactive:
    model = networks.seeded(lambda: networks.WithOutput(form, classes))
    return interactify.wrap(model, mean=0.0, std=1.0, **options)


def test_logits_for_a_sigmoid_each_are_the_log_odds_of_their_class() -> None:
    z = networks.random_tensor(1, 3, *SIZE)
    spec = locate_output(z, SIZE, activation="sigmoid-logits")
    assert not spec.exclusive and torch.equal(to_logits(spec, z), z)
    for k in range(3):
        assert torch.equal(target_logit(z, k, spec.activation), z[:, k : k + 1])
    assert torch.equal(target_logit(z, None, spec.activation), z[:, 1:].amax(1, keepdim=True))


def test_they_are_what_the_sigmoid_inside_gives() -> None:
    """One network with its sigmoid, one without it: the same probabilities, clicks and class maps."""
    inside, stated = wrapped(torch.sigmoid), wrapped(activation="sigmoid-logits")
    assert inside.spec.output.activation == "sigmoid" and not inside.spec.output.exclusive
    sessions = [net.session(PHOTO, target=1) for net in (inside, stated)]
    for session in sessions:
        for x, y in ((60, 30), (10, 50)):
            assert session.click(x=x, y=y, positive=not bool(session.result.mask[y, x])).satisfied
    assert torch.allclose(sessions[0].result.logits, sessions[1].result.logits, atol=1e-4)
    assert np.array_equal(sessions[0].class_map(), sessions[1].class_map())
    assert np.array_equal(sessions[0].label_map(), sessions[1].label_map())


def test_a_pixel_may_have_several_of_the_classes() -> None:
    net = wrapped(activation="sigmoid-logits", classes=4)
    own = net.session(PHOTO, target=2).result.probability
    exclusive = wrapped(classes=4).session(PHOTO, target=2).result.probability
    with torch.no_grad():
        z = net.unwrap()(torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255)
    assert np.allclose(own, z[0, 2].sigmoid(), atol=1e-5)
    assert np.allclose(exclusive, z.softmax(1)[0, 2], atol=1e-5)
    asked = []
    for each in (net, wrapped(classes=4)):
        session = each.session(PHOTO)
        session.click(x=60, y=30, label=1)
        asked.append(session.click(x=60, y=30, label=3).constraints.labels.tolist())
    assert sorted(asked[0]) == [-1, 3] and len(asked[1]) == 1, "of exclusive classes the later click counts"
    text = net.describe()
    assert "logits (a sigmoid for each class); as given" in text and "4 (a pixel may have several)" in text
    assert "activation='sigmoid-logits' if it may have several" in wrapped(classes=4).describe()


def test_files_and_evaluation_follow(tmp_path: Path) -> None:
    net = wrapped(activation="sigmoid-logits", target=1)
    session = net.session(PHOTO)
    session.click(x=60, y=30, positive=not bool(session.result.mask[30, 60]))
    session.save(tmp_path / "session.npz")
    again = interactify.load_session(tmp_path / "session.npz", net, PHOTO)
    assert torch.equal(again.result.logits, session.result.logits)
    assert np.array_equal(again.class_map(), session.class_map())


def test_a_label_map_is_refused() -> None:
    """It gives each pixel one class."""
    labels = np.zeros(PHOTO.shape[:2], np.int64)
    with pytest.raises(interactify.InteractionError, match="a sigmoid for each"):
        wrapped(activation="sigmoid-logits").session(PHOTO).add([interactify.Labels(labels)])


# ---- stated and not so -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["sigmoid", "softmax"])
def test_values_that_are_no_probabilities_are_an_error(given: Any) -> None:
    with pytest.raises(OptionError, match=r"in \[0, 1\].*got values from -.*'sigmoid-logits'"):
        wrapped(activation=given)
    with pytest.raises(OptionError, match=r"in \[0, 1\].*Try activation='none' for logits\."):
        wrapped(classes=1, activation=given)


def test_in_range_on_one_image_only_is_an_error_too() -> None:
    """Logits may lie in [0, 1] by chance; those of the further images do not."""
    z = networks.random_tensor(1, 2, *SIZE).sigmoid()
    assert locate_output(z, SIZE, activation="sigmoid").sure == "as given"
    with pytest.raises(OptionError, match="to 10"):
        locate_output(z, SIZE, activation="sigmoid", rerun=lambda: [z * 0, z / z.max() * 10])


def test_a_softmax_that_does_not_sum_to_one_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"sum to 1 for activation='softmax'.*activation='sigmoid'"):
        wrapped(torch.sigmoid, activation="softmax")
    with pytest.raises(OptionError, match="sum to 1"):
        wrapped(lambda z: F.softmax(z, 1)[:, 1:], activation="softmax")
    assert wrapped(lambda z: F.softmax(z, 1), activation="softmax").spec.output.exclusive


def test_probabilities_that_were_resized_past_one_are_probabilities() -> None:
    def sharpened(z: torch.Tensor) -> torch.Tensor:
        return F.interpolate(torch.sigmoid(30 * F.avg_pool2d(z, 4)), scale_factor=4.0, mode="bicubic")

    net = wrapped(sharpened, classes=1, activation="sigmoid")
    assert net.spec.output.activation == "sigmoid"


def test_stated_by_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    from interactify import cli

    assert cli.main(["inspect", "--activation", "sigmoid-logits"]) == 0
    assert "logits (a sigmoid for each class); as given" in capsys.readouterr().out
