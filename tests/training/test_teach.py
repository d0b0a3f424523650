"""A network learns from accepted masks: it gets better on photos that it never saw; the user's own stays as it was."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import interactify
from interactify import zoo
from interactify.errors import OptionError
from interactify.learning import LabelledPhoto, loop
from interactify.learning.class_task import ClassTask
from interactify.training import Figures, Lesson, teach
from interactify.training.teach import held_back_of, samples_of
from tests.fixtures.red_photos import QUICK, network, red_photo, wrapped, write_pairs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), 6)


@pytest.fixture(scope="module")
def taught(pairs, tmp_path_factory):
    """A wrapped network, its weights before, and what it learned."""
    net = wrapped()
    before = {key: value.clone() for key, value in net.unwrap().state_dict().items()}
    net.unwrap()[0].weight.requires_grad_(False)
    net.unwrap()[1].train()
    state = torch.get_rng_state()
    lesson = teach(net, pairs, out=tmp_path_factory.mktemp("out"), recipe=QUICK, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    return net, before, lesson


def test_it_gets_better_on_photos_that_it_did_not_see(taught):
    net, _, lesson = taught
    assert 0.4 < lesson.before.iou < 0.6  # both blocks are bright, one is the object
    assert lesson.after.iou > 0.9
    assert lesson.before.clicks > 1 and lesson.after.clicks == 1
    assert lesson.better
    assert set(lesson.trained) | set(lesson.held_back) == set("012345")
    assert not set(lesson.trained) & set(lesson.held_back)
    photo, classes = red_photo(99)
    mask = interactify.wrap(lesson.model, **net.options).session(photo).result.mask
    assert interactify.evaluation.iou((classes == 1).astype(np.int8), mask) > 0.9


def test_the_users_network_is_as_it_was(taught):
    net, before, lesson = taught
    model = net.unwrap()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [each.training for each in model.modules()] == [each.training for each in lesson.model.modules()]
    assert model[1].training and not model[0].training
    requires = [[each.requires_grad for each in one.parameters()] for one in (model, lesson.model)]
    assert requires[0] == requires[1] == [False, *[True] * 5]
    assert all(each.grad is None for each in model.parameters())
    shared = {each.data_ptr() for each in model.parameters()} & {each.data_ptr() for each in lesson.model.parameters()}
    assert not shared


def test_statistics_of_batch_norms_stay(taught):
    _, before, lesson = taught
    after = lesson.model.state_dict()
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(after[name], before[name])
    assert not torch.equal(after["3.weight"], before["3.weight"])


def test_what_is_written(taught):
    _, _, lesson = taught
    folder = lesson.checkpoint.parent
    stored = load_file(lesson.checkpoint)
    assert all(torch.equal(value, stored[key]) for key, value in lesson.model.state_dict().items())
    assert sorted(path.name for path in folder.iterdir()) == [
        "accepted",
        "curves.svg",
        "lesson.json",
        "taught.safetensors",
    ]
    assert "<polyline" in (folder / "curves.svg").read_text()
    kept = json.loads((folder / "lesson.json").read_text())
    assert kept["better"] is True and kept["after"] == {"iou": lesson.after.iou, "clicks": 1.0}
    assert kept["held_back"] == sorted(lesson.held_back) and kept["checkpoint"] == "taught.safetensors"


def test_it_says_what_it_gained(taught):
    lines = str(taught[2]).splitlines()
    assert len(lines) == 3 and "learned from" in lines[0]
    assert lines[1].startswith("IoU without clicks") and "->" in lines[1] and "->" in lines[2]


def test_better_means_more_iou_and_no_more_clicks():
    def lesson(before, after):
        figures = Figures(*before), Figures(*after)
        return Lesson(nn.Identity(), Path("w"), *figures, ("a",), ("b",), 1, 1.0, 5)

    assert lesson((0.5, 3.0), (0.6, 3.0)).better
    assert not lesson((0.5, 3.0), (0.6, 3.1)).better
    assert not lesson((0.5, 3.0), (0.5, 1.0)).better


def test_photos_that_are_held_back_are_never_drawn(pairs, tmp_path, monkeypatch):
    drawn = set()
    own = ClassTask._kept
    monkeypatch.setattr(ClassTask, "_kept", lambda self, photo: (drawn.add(photo.image.stem), own(self, photo))[1])
    recipe = replace(QUICK, steps=20)
    lesson = teach(wrapped(), pairs, out=tmp_path, recipe=recipe, held_back=0.5, clicks=0, progress=False)
    assert drawn == set(lesson.trained)
    assert lesson.held_back


def test_a_photo_that_is_held_back_stays_so_as_others_come():
    names = [f"photo {k}" for k in range(200)]
    held = [held_back_of(names[:count], 0.2, seed=0) for count in (20, 100, 200)]
    assert held[0] <= held[1] <= held[2]
    assert 20 < len(held[2]) < 60
    assert held_back_of(names, 0.2, seed=1) != held[2]
    for count in range(3, 12):
        assert 1 <= len(held_back_of(names[:count], 0.2, seed=count)) <= count // 2


@pytest.mark.parametrize("classes", ["three", "two"])
def test_several_classes(tmp_path, classes):
    folder = write_pairs(tmp_path, 5, several=True)
    if classes == "two":  # masks of one object to a network with a background: 0 and 255
        folder = write_pairs(tmp_path / "two", 5)
    for k in range(5):  # a band of which nothing is known, and wrong values under it
        path = folder / f"masks/{k}.png"
        labels = np.array(Image.open(path))
        labels[40:] = 255 if classes == "three" else 128
        Image.fromarray(labels).save(path)
    net = wrapped(3 if classes == "three" else 2)
    lesson = teach(net, folder, recipe=QUICK, clicks=2, progress=False)
    assert lesson.before.iou < 0.6 and lesson.after.iou > 0.85
    assert lesson.checkpoint.parent == folder / "taught"


def test_objects_that_are_clicked_are_spread_over_photos_and_classes(tmp_path):
    photos = []
    for k in range(6):
        Image.fromarray(red_photo(k)[1]).save(tmp_path / f"{k}.png")
        photos.append(LabelledPhoto(tmp_path / f"{k}.png", tmp_path / f"{k}.png", "classes"))
    samples = samples_of(photos, 3)
    assert len(samples) == 8
    assert [sample.name for sample in samples[:6]] == [f"{k}#0" for k in range(6)]  # the largest class of each
    assert {sample.target for sample in samples} == {0, 1, 2} or {sample.target for sample in samples} == {0, 1}
    assert [sample.target for sample in samples_of(photos[:2], 1)] == [None, None]


@pytest.mark.parametrize("parts", ["stem+decoder", "low-rank"])
def test_parts(pairs, tmp_path, parts):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            whole = network()
            self.encoder, self.decoder = whole[:2], nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), whole[3])
            with torch.no_grad():
                self.decoder[1].weight.zero_()
                self.decoder[1].bias.zero_()
                self.decoder[1].weight[range(8), range(8), 1, 1] = 1.0

        def forward(self, x):
            return self.decoder(self.encoder(x))

    net = interactify.wrap(Two().eval(), mean=0.5, std=0.5)
    before = {key: value.clone() for key, value in net.unwrap().state_dict().items()}
    lesson = teach(net, pairs, out=tmp_path, parts=parts, recipe=replace(QUICK, steps=15), clicks=0, progress=False)
    after = lesson.model.state_dict()
    assert after.keys() == before.keys()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    encoder = {key for key in changed if key.startswith("encoder")}
    assert changed and not encoder if parts == "stem+decoder" else "decoder.1.weight" in changed
    if parts == "low-rank":
        assert torch.linalg.matrix_rank((after["decoder.1.weight"] - before["decoder.1.weight"]).flatten(1)) <= 4


def test_a_state_dict_as_torch_saves_it(pairs, tmp_path):
    path = tmp_path / "nets" / "w.pt"
    lesson = teach(
        wrapped(), pairs, out=tmp_path, checkpoint=path, recipe=replace(QUICK, steps=2), clicks=0, progress=False
    )
    assert lesson.checkpoint == path
    stored = torch.load(path, weights_only=True)
    assert all(torch.equal(value, stored[key]) for key, value in lesson.model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"parts": "stem"}, "parts"),
        ({"held_back": 0.0}, "held_back"),
        ({"held_back": 0.6}, "held_back"),
        ({"clicks": -1}, "clicks"),
    ],
)
def test_wrong_options_are_refused_before_any_work(pairs, tmp_path, options, match):
    with pytest.raises(OptionError, match=match):
        teach(wrapped(), pairs, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_wrong_networks_and_masks_are_refused(pairs, tmp_path):
    with pytest.raises(OptionError, match=r"interactify\.wrap"):
        teach(network(), pairs, out=tmp_path)
    with pytest.raises(OptionError, match="float32"):
        teach(interactify.wrap(network().double(), mean=0.5, std=0.5), pairs, out=tmp_path)
    with pytest.raises(OptionError, match=r"trained for clicks, which `teach`.*interactify train"):
        teach(interactify.wrap(zoo.load("clicks")), pairs, out=tmp_path)
    with pytest.raises(OptionError, match=r"at least 3 photos.*got 2.*mark photos as done"):
        teach(wrapped(), write_pairs(tmp_path / "two", 2), out=tmp_path)
    unknown = write_pairs(tmp_path / "unknown", 3)
    for path in (unknown / "masks").iterdir():
        Image.fromarray(np.full((48, 64), 128, np.uint8)).save(path)
    with pytest.raises(OptionError, match="every pixel is unknown"):
        teach(wrapped(), unknown, out=tmp_path)


_KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from interactify.learning import loop
from interactify.training import teach
from tests.fixtures.red_photos import QUICK, wrapped
loop._Run._step = (lambda own: lambda self, batch: (__import__("time").sleep(float(sys.argv[3])), own(self, batch))[1])(
    loop._Run._step)
loop._Run.to_the_end = (lambda own: lambda self, every, save, bar: own(self, every, 0.0, bar))(loop._Run.to_the_end)
lesson = teach(wrapped(), Path(sys.argv[1]), out=sys.argv[2], recipe=replace(QUICK, steps=30), clicks=0, progress=False)
print(lesson.steps, lesson.after.iou)
"""


def test_a_training_that_was_interrupted_goes_on(pairs, tmp_path, monkeypatch):
    options = {"recipe": replace(QUICK, steps=12), "clicks": 0, "progress": False}
    whole = teach(wrapped(), pairs, out=tmp_path / "whole", **options)
    step, whole_run = loop._Run._step, loop._Run.to_the_end

    def interrupted(self, batch):
        if self.progress.step == 7:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(loop._Run, "_step", interrupted)
    monkeypatch.setattr(loop._Run, "to_the_end", lambda self, every, save, bar: whole_run(self, every, 0.0, bar))
    with pytest.raises(KeyboardInterrupt):
        teach(wrapped(), pairs, out=tmp_path / "out", **options)
    assert not (tmp_path / "out/taught.safetensors").exists()
    begun = []
    monkeypatch.setattr(loop._Run, "_step", lambda self, batch: (begun.append(1), step(self, batch))[1])
    rest = teach(wrapped(), pairs, out=tmp_path / "out", **options)
    assert len(begun) == 5 and rest.steps == 12
    assert all(torch.equal(value, rest.model.state_dict()[key]) for key, value in whole.model.state_dict().items())
    assert not list((tmp_path / "out").glob("training-*"))


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on(pairs, tmp_path):
    def run(out, pause):
        command = [sys.executable, "-c", _KILLED, str(pairs), str(tmp_path / out), str(pause)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    killed = run("killed", 0.2)
    while not (states := list((tmp_path / "killed").glob("training-*/training.pt"))):
        assert killed.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    step = torch.load(states[0], weights_only=True)["progress"]["step"]
    assert 0 < step < 30
    assert not (tmp_path / "killed/taught.safetensors").exists()
    rest, whole = run("killed", 0), run("whole", 0)
    assert rest.communicate(timeout=60)[0] == whole.communicate(timeout=60)[0] != ""
    stored = [load_file(tmp_path / each / "taught.safetensors") for each in ("killed", "whole")]
    assert all(torch.equal(value, stored[1][key]) for key, value in stored[0].items())
    assert not list((tmp_path / "killed").glob("training-*"))


def test_other_masks_begin_another_training(tmp_path):
    folder = write_pairs(tmp_path, 4)
    recipe = replace(QUICK, steps=10)
    first = teach(wrapped(), folder, recipe=recipe, clicks=0, progress=False)
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(folder / "masks/0.png")
    again = teach(wrapped(), folder, recipe=recipe, clicks=0, progress=False)
    weights = [lesson.model.state_dict()["0.weight"] for lesson in (first, again)]
    assert not torch.equal(*weights)
