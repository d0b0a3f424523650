"""`interactify app --teach`: the network learns between photos. `--order uncertain`: the least certain one is next."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")

import interactify
from interactify.app.lessons import Lessons, Plan, _Outcome
from interactify.app.networks import Networks
from interactify.app.open_photos import OpenPhotos
from interactify.app.order import Uncertain, uncertainty
from interactify.app.store.journal import SessionFiles
from interactify.app.store.project import Project
from interactify.training import teach
from interactify.training.teach import write_weights
from tests.fixtures.red_photos import QUICK, network, red_photo, wrapped
from tests.fixtures.served import Killed, Page, served

MODEL, OPTIONS = "tests.fixtures.red_photos:network", {"mean": 0.5, "std": 0.5}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(red_photo(number)[0]).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def centre(number, k):
    """The middle (x, y) of a block."""
    return tuple(int(np.median(each)) for each in np.nonzero(red_photo(number)[1] == k)[::-1])


def other_weights(folder, shift=0.5):
    """A file of weights that are not the first ones."""
    model = network()
    with torch.no_grad():
        model[3].bias += shift
    folder.mkdir(parents=True, exist_ok=True)
    return write_weights(folder / "taught.safetensors", model)


def test_the_page_learns_and_opens_the_next_photo_with_better_weights(photos, tmp_path):
    out, net = tmp_path / "out", wrapped()
    plan = Plan(MODEL, OPTIONS, every=4, recipe=QUICK)
    with served(net, photos, out, plan=plan) as (client, _):
        assert client.get("/api/project").json()["teaches"] is True
        for number in range(4):
            page = Page(client, number)
            x, y = centre(number, 2)  # the blue block is erased
            erase = {"kind": "paint", "points": [[x, y - 10], [x, y + 10]], "width": 26, "positive": False}
            page.do("add", interactions=[erase])
            assert page.mask[centre(number, 1)[::-1]] and not page.mask[y, x]
            assert client.get("/api/lessons").json() == {"learning": False, "count": 0, "note": ""}
            client.post(f"/api/photos/{number}/status", json={"status": "done"})
        assert client.get("/api/lessons").json()["learning"] is True
        assert page.click(*centre(3, 1)).kinds[-1] == "done"  # clicks work meanwhile
        deadline = time.monotonic() + 120
        while not (told := client.get("/api/lessons").json())["count"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert told["learning"] is False
        assert told["note"].startswith("Learned from 3 photos: on 1 held back") and "new weights" in told["note"]
        before = page.mask.copy()
        assert (Page(client, 3).mask == before).all()  # an open photo stays on its network
        fresh = Page(client, 4)
        truth = (red_photo(4)[1] == 1).astype(np.int8)
        assert interactify.evaluation.iou(truth, net.session(photos[4]).result.mask) < 0.6
        assert interactify.evaluation.iou(truth, fresh.mask) > 0.9
    with served(net, photos, out, plan=plan) as (client, _):  # the server again: both keep their networks
        assert (Page(client, 3).mask == before).all()
        assert (Page(client, 4).mask == fresh.mask).all()
    with served(net, photos, out) as (client, _):  # without --teach, photos without a session get the first network
        assert (Page(client, 3).mask == before).all()
        assert (Page(client, 4).mask == net.session(photos[4]).result.mask).all()


def test_a_session_is_restored_under_its_network_after_a_kill(photos, tmp_path):
    """The weights change while a photo is open, and the server is killed before its session is saved."""
    out, net = tmp_path / "out", wrapped()
    with served(net, photos, out) as (client, _):
        page = Page(client, 0).click(*centre(0, 2), False)
        killed = Killed(out)
    killed.happens()
    (out / "sessions/0.npz").unlink(missing_ok=True)
    networks = Networks(net, out / "taught")
    networks.add(5, other_weights(out / "taught/lesson-1"))
    opened = OpenPhotos(Networks(net, out / "taught", latest=True), Project.opened(photos, out))
    try:
        project = opened.project
        old, new = opened.open(project.photos[0]), opened.open(project.photos[1])
        assert (old.session().result.mask == page.mask).all() and len(old.session().interactions) == 1
        assert old.session().net.unwrap() is net.unwrap()
        assert new.session().net.unwrap() is not net.unwrap()
    finally:
        opened.close()


def test_networks_are_found_again(tmp_path, photos):
    net, folder = wrapped(), tmp_path / "out/taught"
    files = SessionFiles.of("0", tmp_path / "out")
    networks = Networks(net, folder)
    assert networks.latest() == (net, None) and networks.of(files)[0] is net
    networks.add(5, other_weights(folder / "lesson-1"))
    networks.add(10, None)
    latest, weights = networks.latest()
    assert weights == folder / "lesson-1/taught.safetensors"
    assert latest.unwrap()[3].bias.item() == pytest.approx(net.unwrap()[3].bias.item() + 0.5)
    assert latest.options == net.options and networks.of(files)[0] is latest
    again = Networks(net, folder, latest=True)
    assert [each.photos for each in again.lessons] == [5, 10]
    assert again.latest()[1] == weights and Networks(net, folder).latest()[1] is None
    changed = network()
    changed[3].bias.data += 1
    assert Networks(interactify.wrap(changed, mean=0.5, std=0.5), folder, latest=True).lessons == ()
    weights.unlink()
    assert Networks(net, folder, latest=True).latest() == (net, None)
    (folder / "networks.json").write_text("[1")
    assert Networks(net, folder).lessons == ()


@pytest.fixture
def lessons(photos, tmp_path, monkeypatch):
    """Lessons of a project with five photos, whose process is replaced: `outcomes` are what it sends."""
    out = tmp_path / "out"
    project, settled = Project.opened(photos, out), []
    found = Lessons(
        Plan(MODEL, OPTIONS, every=2), Networks(wrapped(), out / "taught"), project, lambda: settled.append(1)
    )
    outcomes = []

    class Process:
        def __init__(self, target, args, daemon):
            self.job, self.sending = args

        def start(self):
            outcome = outcomes.pop(0)
            if outcome is None:
                return
            if outcome.better:
                other_weights(self.job.out, shift=len(found.networks.lessons) + 1)
            self.sending.send(outcome)

        def join(self):
            pass

        def is_alive(self):
            return False

    context = type(torch.multiprocessing.get_context("spawn"))
    monkeypatch.setattr(context, "Process", Process)
    found.outcomes, found.settled = outcomes, settled

    def done(number):
        project.mark(number, status="done")
        found.consider()
        if found._thread is not None:
            found._thread.join()

    found.done = done
    return found


def test_a_lesson_comes_when_enough_photos_were_accepted(lessons):
    lessons.outcomes += [_Outcome("First", better=True), _Outcome("Second")]
    lessons.done(0)
    lessons.done(1)
    assert lessons.count == 0  # two are too few to hold one back
    lessons.done(2)
    assert (lessons.count, lessons.settled) == (1, [1])
    assert lessons.note == "First. The next photos open with the new weights."
    latest = lessons.networks.latest()
    lessons.done(3)
    assert lessons.count == 1
    lessons.done(4)
    assert lessons.note == "Second. No better: the weights stay." and lessons.count == 2
    assert lessons.networks.latest() == latest
    assert [each.photos for each in lessons.networks.lessons] == [3, 5]


def test_a_lesson_that_fails_says_why_and_changes_nothing(lessons):
    before = lessons.networks.latest()
    lessons.outcomes += [_Outcome(error="Expected masks, got none."), None]
    for number in range(5):
        lessons.done(number)
        if lessons.count == 1:
            assert lessons.note == "Learning failed: Expected masks, got none."
    assert lessons.count == 2 and "ended unexpectedly" in lessons.note
    assert lessons.networks.latest() == before
    assert not lessons.learning


def test_what_the_page_writes_of_several_classes_can_be_taught(photos, tmp_path):
    out, net = tmp_path / "out", wrapped(3)
    with served(net, photos[:3], out) as (client, _):
        for number in range(3):
            page = Page(client, number)
            for k in (1, 2):
                page.click(*centre(number, k), label=k)
            assert not (out / f"classes/{number}.png").exists()
            client.post(f"/api/photos/{number}/status", json={"status": "done"})
    labels = np.asarray(Image.open(out / "classes/0.png"))
    assert [labels[centre(0, k)[::-1]] for k in (1, 2)] == [1, 2]
    lesson = teach(net, out, photos=photos[0].parent, recipe=replace(QUICK, steps=2), clicks=0, progress=False)
    assert len(lesson.trained) == 2


def test_the_least_certain_photo_is_next(photos, tmp_path):
    for number in (1, 3):  # white: the network is certain of all of it
        Image.fromarray(np.full((48, 64, 3), 255, np.uint8)).save(photos[number])
    with served(wrapped(), photos, tmp_path / "out", order="uncertain") as (client, _):
        assert client.get("/api/project").json()["order"] == "uncertain"
        for thread in threading.enumerate():
            if thread.name == "interactify-order":
                thread.join(60)
        order, number = [], 0
        while number is not None:
            number = client.get("/api/next", params={"after": number}).json()["number"]
            if number is not None:
                order.append(number)
                client.post(f"/api/photos/{number}/status", json={"status": "done"})
        assert set(order[:3]) == {0, 2, 4} and set(order[3:]) == {1, 3}
        assert client.get("/api/next", params={"after": "x"}).status_code == 404


def test_the_order_is_stable_and_others_come_by_name(photos, tmp_path):
    project = Project.opened(photos, tmp_path / "out")
    photos[4].write_bytes(b"no photo")
    order = Uncertain(wrapped(), project)
    order.wait()
    known = {number: uncertainty(wrapped(), project.photos[number]) for number in range(4)}
    assert order.after(4) == order.after(4) == max(known, key=known.get)
    for number in range(4):
        project.mark(number, status="done")
    assert order.after(0) == 4 and order.after(4) is None


def test_uncertainty_is_entropy(photos, tmp_path):
    photo = Project.opened(photos, tmp_path / "out").photos[0]

    class Constant(torch.nn.Module):
        def __init__(self, *logits):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, len(logits), 1)
            with torch.no_grad():
                self.conv.weight.mul_(1e-6)
                self.conv.bias.copy_(torch.tensor(logits))

        def forward(self, x):
            return self.conv(x)

    def of(*logits, **options):
        return uncertainty(interactify.wrap(Constant(*logits).eval(), mean=0.5, std=0.5, **options), photo)

    assert of(0.0) == pytest.approx(1, abs=1e-4) and of(9.0) < 0.01
    assert of(0.0, 0.0, 0.0) == pytest.approx(1, abs=1e-4) and of(9.0, 0.0, 0.0) < 0.01
    p = 1 / (1 + np.exp(-1.0))
    assert of(1.0) == pytest.approx(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), abs=1e-4)
    assert of(9.0, 9.0, activation="sigmoid-logits") < 0.01
