"""A thousand hostile requests to the service: 4xx each, it lives, and neither sessions nor files are touched."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")
pytest.importorskip("uvicorn", reason="needs uvicorn: install interactify[serve]")

from interactify.commands.serve import keys_of
from interactify.errors import OptionError
from interactify.serve.keys import Keys
from interactify.web import tokens
from tests.fixtures.hostile import CLICK, NO_JSON, broken_pictures, hostile_actions
from tests.fixtures.service import ANA, BEN, KEYS, serving

Request = tuple[str, str, dict[str, str], bytes]


def hostile(picture: bytes, port: int, path: str, token: str) -> Iterator[Request]:
    """Requests of many kinds, most with Ana's key and her session's token; none of them may change anything."""
    good = json.dumps({"do": "add", "interactions": [CLICK]}).encode()
    act = f"{path}/actions"

    def action(content: Any) -> Request:
        return "POST", act, {}, content if isinstance(content, bytes) else json.dumps(content).encode()

    every = [("GET", path), ("POST", act), ("GET", f"{path}/mask"), ("POST", f"{path}/heartbeat"), ("DELETE", path),
             ("POST", "/v1/sessions"), ("GET", "/v1/sessions"), ("GET", f"{path}/export/png"), ("GET", f"{path}/log"),
             ("GET", "/v1/networks"), ("GET", f"{path}/labels"), ("GET", act)]  # fmt: skip
    of_session = [each for each in every if each[1].startswith(path)]
    # without a key, with others, in other forms
    wrong_keys = ["", "Bearer", "Bearer ", f"Bearer {ANA[:-1]}", f"Bearer {ANA}x", f"Basic {ANA}", ANA, "Bearer null",
                  f"Bearer {ANA.upper()}", "Bearer " + "a" * 5000, f"Bearer ana:{ANA}"]  # fmt: skip
    wrong_keys += [
        f"bearer  {BEN[::-1]}",
        f"Token {ANA}",
        f"Bearer {ANA},{BEN}",
        f"Bearer\t{ANA}",
        "Digest username=ana",
    ]
    for (method, where), key in itertools.product(every, wrong_keys):
        yield method, where, {"Authorization": key}, good
    # another's key, wrong tokens
    for method, where in of_session:
        yield method, where, {"Authorization": f"Bearer {BEN}"}, good
        for wrong in ("", "x", token[:-1], token + "x", token.swapcase(), "a" * 5000, "' OR 1=1 --"):
            yield method, where, {"Session-Token": wrong}, good
    # from pages in browsers
    own = f"http://127.0.0.1:{port}"
    for (method, where), origin in itertools.product(
        every, ("http://evil.example", "null", own, "file://", "https://a")
    ):
        yield method, where, {"Origin": origin}, good
    for (method, where), site in itertools.product(every, ("cross-site", "same-site", "same-origin", "other")):
        yield method, where, {"Sec-Fetch-Site": site}, good
    for where in ("/healthz", "/metrics", "/openapi.json", "/readyz"):
        yield "GET", where, {"Origin": "http://evil.example"}, b""
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT_"):
            yield method, where, {}, b""
    for method, where in itertools.product(
        ("PUT", "PATCH", "TRACE", "OPTIONS", "PROPFIND"), {each[1] for each in every}
    ):
        yield method, where, {}, good
    # other sessions, other paths
    escapes = ["../" * n + "etc/passwd" for n in range(1, 5)] + ["%2e%2e/" * n + "etc/passwd" for n in range(1, 5)]
    escapes += ["..%2f" * n + "etc%2fpasswd" for n in range(1, 5)] + ["..%5c..%5cwindows", "%00", ".", "..", "~"]
    escapes += [
        "0" * 24,
        "0" * 5000,
        "%30%20",
        "'%20OR%201=1%20--",
        "*",
        "interactify:session:*",
        "%F0%9F%92%A9",
        "\u0660",
    ]
    for escape in escapes:
        for root in ("/v1/sessions/", "/v1/", "/", f"{path}/export/", f"{path}/"):
            yield "GET", root + escape, {}, b""
    for query in (
        "mask=jpeg",
        "mask=",
        "object=nobody",
        "object=",
        "object=../../x",
        "object=%00",
        "object=" + "a" * 3000,
    ):
        yield "GET", f"{path}/mask?{query}", {}, b""
        yield "GET", f"{path}?{query}", {}, b""
        yield "GET", f"{path}/export/{'npy' if 'object' in query else 'exe'}?{query}", {}, b""
    for tolerance in ("-1", "nan", "inf", "a", "1e999", "", "1" * 400 + "e400"):
        yield "GET", f"{path}/export/coco?tolerance={tolerance}", {}, b""
    for after in ("-1", "1.5", "a", "", "9" * 400, "\u0660"):
        yield "GET", f"{act}?after={after}", {}, b""
    for superseded in ("2", "yes", "", "-1"):
        yield "POST", f"{act}?superseded={superseded}", {}, good
    for of in ("", "classes", "exe", "../x"):
        yield "GET", f"{path}/labels?of={of}", {}, b""
    # invalid actions
    yield from map(action, (*NO_JSON, *hostile_actions()))
    for key in ("short", "a" * 200, "two words", "é" * 20):
        yield "POST", act, {"Idempotency-Key": key}, good
    # pictures that are none, too large ones, paths that lead elsewhere
    for content, name in itertools.product(broken_pictures(picture), ("a.png", "../../a.png", "%00")):
        yield "POST", f"/v1/sessions?name={name}", {}, content
    as_json = {"Content-Type": "application/json"}
    for where in ("../s.db", "/etc/passwd", "", "\0", "~", ".", "..", "first.png/..", "a" * 5000, None, 3, [], {}):
        yield "POST", "/v1/sessions", as_json, json.dumps({"path": where}).encode()
    for body in (b"", b"{", b"[]", b'{"path":' * 5000, b'{"path": "first.png", "x": 1}'):
        yield "POST", "/v1/sessions", as_json, body
    for query in ("network=none", "network=", "target=sky", "target=9", "mask=exe", "network=" + "a" * 3000):
        yield "POST", f"/v1/sessions?{query}", {}, picture
    for header in ("-1", "1e3", "99999999999999999", str(2**40), "abc"):
        yield "POST", "/v1/sessions", {"Content-Length": header}, b""
        yield "POST", act, {"Content-Length": header}, b""
    yield "POST", act, {}, b" " * (2 * 2**20 + 1)
    for name, value in (("Transfer-Encoding", "chunked, gzip"), ("Upgrade", "websocket"), ("Expect", "200-ok")):
        yield "POST", "/nowhere", {name: value}, good


def ask(port: int, token: str, request: Request) -> int:
    """Send a request over a socket, so that no client corrects it; returns the status."""
    method, path, given, body = request
    headers = {"Host": f"127.0.0.1:{port}", "Authorization": f"Bearer {ANA}", "Session-Token": token}
    headers |= {"Content-Length": str(len(body)), "Connection": "close", **given}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        with contextlib.suppress(OSError):  # refused before all of it was sent
            connection.sendall(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        response = b""
        with contextlib.suppress(ConnectionResetError):
            while b"\r\n" not in response and (more := connection.recv(4096)):
                response += more
    assert response, (method, path[:80], given, body[:80])
    return int(response.split()[1])


def test_a_thousand_hostile_requests(net, pictures, tmp_path):
    folder = pictures[0].parent
    with serving(net, tmp_path / "s.db", KEYS, folders=[folder]) as (address, service):
        port, picture = int(address.rsplit(":", 1)[1]), pictures[0].read_bytes()
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {ANA}"}, trust_env=False) as client:
            opened = client.post("/v1/sessions", content=picture).json()
            path, headers = f"/v1/sessions/{opened['session']}", {"Session-Token": opened["token"]}
            click = {"do": "add", "interactions": [{"kind": "click", "x": 55, "y": 30, "positive": True}]}
            client.post(f"{path}/actions", json=click, headers=headers).raise_for_status()
            state, files = client.get(path, headers=headers).json(), _files(folder)
            entries = service.store.entries(opened["session"])
            requests = list(hostile(picture, port, path, opened["token"]))
            statuses = [(ask(port, opened["token"], request), request) for request in requests]
            wrong = [(status, request[0], request[1][:80], request[2], request[3][:80]) for status, request in statuses
                     if not 400 <= status < 500]  # fmt: skip
            assert not wrong
            assert len(requests) >= 1000, len(requests)
            assert len(Counter(status for status, _ in statuses)) >= 8
            assert service.store.entries(opened["session"]) == entries and _files(folder) == files
            assert client.get(path, headers=headers).json() == state
            assert len(client.get("/v1/sessions").json()["sessions"]) == 1
            assert client.post(f"{path}/actions", json=click, headers=headers).json()["n"] == 2


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_body_beyond_its_limit_is_not_read(net, pictures, tmp_path):
    """Chunked, so that no header has its length."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 400 * 2**20:
            sent += 2**20
            yield bytes(2**20)

    with (
        serving(net, tmp_path / "s.db", file_bytes=2**20) as (address, _),
        httpx.Client(base_url=address, timeout=30, trust_env=False) as client,
    ):
        with contextlib.suppress(httpx.TransportError):  # the connection is closed before the whole body is sent
            assert client.post("/v1/sessions", content=endless()).status_code == 413
        assert sent < 64 * 2**20
        headers = client.get("/healthz").headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "169.254.169.254", "[::2]", "", "a:b:c"])
def test_without_keys_only_the_loopback_address_is_named(net, tmp_path, host):
    with serving(net, tmp_path / "s.db") as (address, _), httpx.Client(base_url=address, trust_env=False) as client:
        port = address.rsplit(":", 1)[1]
        for given in (host, f"{host}:{port}"):
            assert client.get("/v1/sessions", headers={"Host": given}).status_code in (400, 421)
        for given in ("localhost", f"localhost:{port}", "[::1]:1", "127.0.0.1"):
            assert client.get("/v1/sessions", headers={"Host": given}).status_code == 200


def test_all_keys_are_compared_by_a_function_of_constant_time(monkeypatch):
    compared: list[tuple[str, str]] = []

    def watched(a: str, b: str) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(tokens.hmac, "compare_digest", watched)
    many = Keys.read([f"n{k}:{'k' * 20}{k}" for k in range(5)])
    for key, owner in (("k" * 20 + "0", "n0"), ("k" * 20 + "4", "n4"), ("no such key", None)):
        compared.clear()
        assert many.owner(key) == owner and len(compared) == 5, "an early match ends nothing early"
        assert all(len(a) == len(b) == 64 for a, b in compared), "digests, whose length says nothing"


@pytest.mark.parametrize(
    "lines",
    [[], ["# none"], ["ana"], ["ana:short"], [":" + "k" * 20], ["a b:" + "k" * 20], ["ana:" + "k" * 20] * 2,
     ["ana:" + "k" * 20, "ben:" + "k" * 20], ["ana:" + "k " * 20], ["ana:" + "é" * 20]],
)  # fmt: skip
def test_keys_that_are_none_are_refused(lines):
    with pytest.raises(OptionError):
        Keys.read(lines)


def test_beyond_the_loopback_address_keys_are_needed(tmp_path, monkeypatch):
    from argparse import Namespace

    monkeypatch.delenv("INTERACTIFY_KEYS", raising=False)
    assert keys_of(Namespace(keys=None, host="127.0.0.1")) == Keys()
    with pytest.raises(OptionError, match="Expected API keys"):
        keys_of(Namespace(keys=None, host="0.0.0.0"))
    monkeypatch.setenv("INTERACTIFY_KEYS", f"ana:{ANA},ben:{BEN}")
    assert keys_of(Namespace(keys=None, host="0.0.0.0")).owner(BEN) == "ben"
    (tmp_path / "keys").write_text(f"# ours\nana:{ANA}\n\n")
    assert keys_of(Namespace(keys=tmp_path / "keys", host="0.0.0.0")).owner(BEN) is None
    with pytest.raises(OptionError, match="can't be read"):
        keys_of(Namespace(keys=tmp_path / "none", host="0.0.0.0"))
