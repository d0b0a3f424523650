"""The service over HTTP: sessions by upload and by path, results in every form, keys, places, numbers."""

from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")
pytest.importorskip("uvicorn", reason="needs uvicorn: install interactify[serve]")

import interactify
from interactify.export import mask_of_rle
from interactify.export.formats import FORMATS
from interactify.serve.service import Service
from interactify.session.session import Session
from tests.fixtures import networks
from tests.fixtures.service import ANA, BEN, KEYS, serving

CLICK = {"kind": "click", "x": 55, "y": 30, "positive": True}
ADD = {"do": "add", "interactions": [CLICK]}


def client_of(address: str, key: str | None = None) -> httpx.Client:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False)


@pytest.fixture
def served(net, tmp_path, pictures):
    with (
        serving(net, tmp_path / "s.db", folders=[pictures[0].parent]) as (address, service),
        client_of(address) as client,
    ):
        yield client, service


class Opened:
    """A session over plain HTTP."""

    def __init__(self, client: httpx.Client, photo: Path | bytes, **params: str) -> None:
        content = photo if isinstance(photo, bytes) else photo.read_bytes()
        response = client.post("/v1/sessions", content=content, params=params)
        assert response.status_code == 201, response.text
        self.client, self.state = client, response.json()
        self.path, self.headers = f"/v1/sessions/{self.state['session']}", {"Session-Token": self.state["token"]}

    def get(self, what: str = "", **params: str) -> httpx.Response:
        return self.client.get(self.path + what, params=params, headers=self.headers)

    def do(self, content: Any, **params: str) -> httpx.Response:
        return self.client.post(f"{self.path}/actions", json=content, params=params, headers=self.headers)


def whole_mask(state: dict[str, Any], before: np.ndarray | None = None) -> np.ndarray:
    """The mask that a state tells of, from run lengths or a PNG."""
    change = state["mask"]
    mask = np.zeros((72, 100), bool) if before is None else before.copy()
    if change["box"] is not None:
        left, top, width, height = change["box"]
        part = (
            mask_of_rle(change["rle"])
            if "rle" in change
            else np.asarray(Image.open(io.BytesIO(base64.b64decode(change["png"]))))
        )
        mask[top : top + height, left : left + width] = part
    return mask


def test_results_come_in_every_form(served, net, pictures):
    client, _ = served
    local = net.session(pictures[0])
    session = Opened(client, pictures[0], name="first.png")
    assert session.state["n"] == 0 and (session.state["width"], session.state["height"]) == (100, 72)
    mask = whole_mask(session.state)
    assert session.state["mask"]["base"] is None and (mask == local.result.mask).all()
    answer = session.do(ADD).json()
    local.click(55, 30)
    assert answer["mask"]["base"] == 0 and (whole_mask(answer, mask) == local.result.mask).all()
    negative = {"do": "add", "interactions": [{"kind": "click", "x": 5, "y": 5, "positive": False}]}
    answer, before = session.do(negative, mask="png").json(), local.result.mask
    local.click(5, 5, False)
    assert (whole_mask(answer, before) == local.result.mask).all()
    assert session.do({"do": "undo"}, mask="none").json()["mask"] is None
    local.undo()
    assert (whole_mask(session.get().json()) == local.result.mask).all()
    png = session.get("/mask", mask="png")
    assert png.headers["content-type"] == "image/png" and png.headers["interactify-number"] == "3"
    assert (np.asarray(Image.open(io.BytesIO(png.content))) == local.result.mask).all()
    assert (mask_of_rle(session.get("/mask").json()["rle"]) == local.result.mask).all()
    assert session.get("/log").text == local.log()
    with np.load(io.BytesIO(session.get("/labels").content)) as file:
        assert (file["labels"] == local.label_map()).all()
    assert session.get("/labels", of="classes").status_code == 422, "the network has one class"
    assert session.client.delete(session.path, headers=session.headers).status_code == 204
    assert session.get().status_code == 404


def test_every_format_is_exported(served, net, pictures):
    client, _ = served
    session = Opened(client, pictures[0], name="../../first.png")
    session.do(ADD)
    local = net.session(pictures[0])
    local.click(55, 30)
    names = {}
    for form in FORMATS:
        response = session.get(f"/export/{form}")
        assert response.status_code == 200 and response.content, form
        names[form] = response.headers["content-disposition"]
    assert all("''first" in name for name in names.values())
    mask = np.asarray(Image.open(io.BytesIO(session.get("/export/png").content)))
    assert ((mask == 255) == local.result.mask).all()
    probability = np.load(io.BytesIO(session.get("/export/npy").content))
    assert (probability == local.result.probability).all()
    coco = session.get("/export/coco", tolerance="1.5").json()
    assert coco["images"][0]["file_name"] == "first.png"
    for wrong in ("exe", "png%00"):
        assert session.get(f"/export/{wrong}").status_code in (404, 422)
    for tolerance in ("-1", "nan", "a", "inf"):
        assert session.get("/export/coco", tolerance=tolerance).status_code == 422
    assert session.get("/export/png", object="nobody").status_code == 422


def test_photos_below_the_folders_are_opened_by_their_path(served, net, pictures):
    client, _ = served
    response = client.post("/v1/sessions", json={"path": "second.png"})
    assert response.status_code == 201 and response.json()["name"] == "second.png"
    assert (whole_mask(response.json()) == net.session(pictures[1]).result.mask).all()
    for wrong in ({"path": "../s.db"}, {"path": "/etc/passwd"}, {"path": 3}, {"paths": "a"}, [], "first.png"):
        assert client.post("/v1/sessions", json=wrong).status_code in (415, 422)
    broken = client.post("/v1/sessions", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400


def test_networks_are_asked_for_by_name(tmp_path, pictures):
    nets = {
        "plain": interactify.wrap(networks.seeded(networks.Plain), max_evaluations=3),
        "other": interactify.wrap(networks.seeded(networks.Plain, seed=2), max_evaluations=3),
    }
    with serving(nets, tmp_path / "s.db") as (address, _), client_of(address) as client:
        assert [each["name"] for each in client.get("/v1/networks").json()["networks"]] == ["plain", "other"]
        first, second = Opened(client, pictures[0]), Opened(client, pictures[0], network="other")
        assert first.state["network"] == "plain" and second.state["network"] == "other"
        assert (whole_mask(second.state) == nets["other"].session(pictures[0]).result.mask).all()
        assert (whole_mask(first.state) != whole_mask(second.state)).any()
        for wrong in ({"network": "none"}, {"target": "sky"}, {"target": "7"}, {"mask": "jpeg"}):
            response = client.post("/v1/sessions", content=pictures[0].read_bytes(), params=wrong)
            assert response.status_code == 422, wrong
        assert client.get("/metrics").text.count("interactify_sessions 2.0\n") == 1, "what was refused has no place"


def test_sessions_of_one_key_are_invisible_to_another(net, tmp_path, pictures):
    with (
        serving(net, tmp_path / "s.db", KEYS) as (address, service),
        client_of(address, ANA) as ana,
        client_of(address, BEN) as ben,
        client_of(address) as nobody,
    ):
        session = Opened(ana, pictures[0])
        assert session.do(ADD).status_code == 200
        assert [each["session"] for each in ana.get("/v1/sessions").json()["sessions"]] == [session.state["session"]]
        assert ben.get("/v1/sessions").json() == {"sessions": []}
        token = session.headers
        unknown = ben.get("/v1/sessions/0123456789abcdef01234567", headers=token)
        ways = [("GET", ""), ("DELETE", ""), ("GET", "/mask"), ("GET", "/log"), ("GET", "/export/png"),
                ("GET", "/labels"), ("POST", "/actions"), ("GET", "/actions"), ("POST", "/heartbeat")]  # fmt: skip
        for method, what in ways:
            given: dict[str, Any] = {"json": ADD} if what == "/actions" else {}
            other = ben.request(method, session.path + what, headers=token, **given)
            assert (other.status_code, other.text) == (unknown.status_code, unknown.text) == (404, unknown.text)
            assert nobody.request(method, session.path + what, headers=token, **given).status_code == 401
            for wrong in ("", "x", token["Session-Token"][:-1], token["Session-Token"] + "x"):
                headers = {"Session-Token": wrong}
                refused = ana.request(method, session.path + what, headers=headers, **given)
                assert refused.status_code == 403, (method, what, wrong)
        for key in (ANA[:-1], ANA + "x", ANA.upper(), "ana", "\xff"):
            headers = {b"Authorization": f"Bearer {key}".encode("latin-1")}
            assert nobody.get("/v1/sessions", headers=headers).status_code == 401
        assert nobody.get("/v1/sessions", headers={"Authorization": f"Basic {ANA}"}).status_code == 401
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert nobody.get(path).status_code == 200
        assert whole_mask(session.get().json()).shape == (72, 100) and len(service.memory) == 1
        text = (tmp_path / "s.db").read_bytes() + (tmp_path / "s.db-wal").read_bytes()
        assert ANA.encode() not in text and session.state["token"].encode() not in text


def test_health_readiness_and_numbers(served, pictures, monkeypatch):
    client, _ = served
    session = Opened(client, pictures[0])
    session.do(ADD)
    session.get("/nowhere")
    text = client.get("/metrics").text
    for line in (
        'interactify_requests_total{route="open",status="201"} 1.0',
        'interactify_requests_total{route="act",status="200"} 1.0',
        'interactify_requests_total{route="none",status="404"} 1.0',
        'interactify_actions_total{do="add"} 1.0',
        "interactify_action_seconds_count 1.0",
        "interactify_sessions 1.0",
        "interactify_sessions_in_memory 1.0",
    ):
        assert line in text.splitlines(), line
    kinds = {line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE")}
    names = {line.split("{")[0].split()[0] for line in text.splitlines() if not line.startswith("#")}
    for name in names:
        base = name if name in kinds else name.rsplit("_", 1)[0]
        assert kinds[base] in ("counter", "gauge", "histogram"), name
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    monkeypatch.setattr(Service, "ready", False)
    assert client.get("/readyz").status_code == 503 and client.get("/healthz").status_code == 200


def test_places_and_heartbeats_over_http(net, tmp_path, pictures):
    with (
        serving(net, tmp_path / "s.db", sessions=1, liveness=2.0) as (address, _),
        client_of(address) as client,
    ):
        session = Opened(client, pictures[0])
        assert session.state["lease_seconds"] == 2.0
        full = client.post("/v1/sessions", content=pictures[0].read_bytes())
        assert full.status_code == 503 and full.headers["retry-after"] and full.json()["kind"] == "Full"
        beat = client.post(f"{session.path}/heartbeat", headers=session.headers)
        assert beat.json() == {"lease_seconds": 2.0}
        time.sleep(2.1)
        second = Opened(client, pictures[0])
        assert second.state["n"] == 0
        assert client.post(f"{second.path}/leave", headers=second.headers).status_code == 204
        third = Opened(client, pictures[0])  # at once, in its place
        assert client.post(f"{second.path}/actions", json=ADD, headers=second.headers).status_code == 503
        assert client.post(f"{third.path}/leave", headers=third.headers).status_code == 204
        assert client.post(f"{second.path}/actions", json=ADD, headers=second.headers).json()["n"] == 1, (
            "it takes it again"
        )


def test_a_request_that_comes_again_is_made_once(served, pictures):
    client, service = served
    session = Opened(client, pictures[0])
    headers = {**session.headers, "Idempotency-Key": "a-key-of-mine"}
    first, again = (client.post(f"{session.path}/actions", json=ADD, headers=headers).json() for _ in range(2))
    assert first["n"] == again["n"] == 1 and again["mask"]["base"] is None
    (line,) = service.store.entries(session.state["session"])
    assert json.loads(line)["key"] == "a-key-of-mine"
    for wrong in ("short", "a" * 129, "with space"):
        headers = {**session.headers, "Idempotency-Key": wrong}
        assert client.post(f"{session.path}/actions", json=ADD, headers=headers).status_code == 400


def test_a_network_that_fails_is_told_and_the_session_goes_on(served, pictures):
    client, _ = served
    session = Opened(client, pictures[0])

    def fails(*_: object) -> None:
        raise RuntimeError("cuDNN says no")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Session, "add", fails)
        response = session.do(ADD)
    assert response.status_code == 500 and "cuDNN says no" in response.json()["error"]
    assert session.do(ADD).json()["n"] == 1
