"""Which requests are allowed, and a thousand hostile ones: 4xx each, the server lives, the files are untouched."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")

import httpx

import interactify
from interactify.app.security import Access
from interactify.app.server import STATIC
from interactify.web.pictures import MAX_FILE_BYTES
from tests.fixtures import networks
from tests.fixtures.hostile import CLICK, NO_JSON, broken_pictures, hostile_actions
from tests.fixtures.served import Page, served

Request = tuple[str, str, dict[str, str], bytes]


@pytest.fixture
def net():
    return interactify.wrap(networks.seeded(networks.Plain), max_evaluations=4)


@pytest.fixture
def pictures(tmp_path: Path, photo) -> list[Path]:
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "first.png"
    Image.fromarray(photo).save(path)
    return [path]


def action(content: Any) -> Request:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return "POST", "/api/photos/0/do", {}, body


def hostile(picture: bytes, port: int) -> Iterator[Request]:
    """Requests of many kinds; none of them may change anything."""
    good = json.dumps({"do": "add", "interactions": [CLICK]}).encode()
    own = f"http://127.0.0.1:{port}"
    paths = [
        "/",
        "/api/project",
        "/api/photos/0/state",
        "/api/photos/0/image",
        "/static/main.js",
        "/api/export?kinds=png",
    ]
    hosts = [
        "evil.example",
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        "127.0.0.1:1",
        "[::2]",
        "",
        "a:b:c",
    ]
    for host, path in itertools.product([*hosts, f"169.254.169.254:{port}", f"127.0.0.1:{port}:{port}"], paths):
        yield "GET", path, {"Host": host}, b""
        yield "POST", "/api/photos/0/do", {"Host": host, "Origin": f"http://{host}"}, good
    origins = [
        "http://evil.example",
        "null",
        "https://127.0.0.1",
        f"http://localhost:{port}",
        "file://",
        own + ".evil.example",
    ]
    for origin, path in itertools.product([*origins, f"https://127.0.0.1:{port}", own + "/"], paths):
        yield "GET", path, {"Origin": origin}, b""
        yield "POST", "/api/photos/0/do", {"Origin": origin}, good
        yield "POST", "/api/photos?name=a.png", {"Origin": origin}, picture
    for site, path in itertools.product(["cross-site", "same-site", "other"], paths):
        yield "GET", path, {"Sec-Fetch-Site": site}, b""
    for path in ("/api/photos/0/do", "/api/photos/0/cancel", "/api/photos/0/status", "/api/photos?name=a"):
        yield "POST", path, {"Origin": ""}, good
    methods = ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "CONNECT_", "POST"]
    for method, path in itertools.product(methods, paths):
        yield method, path, {}, b""
    for path in ("/api/photos", "/api/photos/0/do", "/api/photos/0/cancel", "/api/photos/0/status"):
        yield "GET", path, {}, b""
    escapes = ["../" * n + "etc/passwd" for n in range(1, 9)] + ["%2e%2e/" * n + "etc/passwd" for n in range(1, 9)]
    escapes += ["..%2f" * n + "etc%2fpasswd" for n in range(1, 9)] + ["....//" * n + "etc/passwd" for n in range(1, 5)]
    escapes += [
        "..%5c..%5cwindows",
        "%00",
        "main.js%00.png",
        "%252e%252e%252fetc",
        "server.py",
        "../server.py",
        ".",
        "..",
        "~",
    ]
    for way, root in itertools.product(escapes, ("/static/", "/", "/api/", "/api/photos/", "/api/photos/0/")):
        yield "GET", root + way, {}, b""
    numbers = ["1", "-1", "99999999999999999999", "9" * 5000, "0x0", "a", "%30%20", "1e3", "\u0660", "0/../1", "0%00"]
    for number, what in itertools.product(numbers, ("image", "thumb", "state", "initial")):
        yield "GET", f"/api/photos/{number}/{what}", {}, b""
        yield "POST", f"/api/photos/{number}/do", {}, good
    for kinds in ("", "exe", "png,", ",", "../png", "png,npz", "png%00", "a" * 3000):
        yield "GET", f"/api/export?kinds={kinds}", {}, b""
        yield "GET", f"/api/export?kinds=png&photo=7{kinds}x", {}, b""
    for status in ("", "DONE", None, 3, [], {}, "done\n", "a" * 10_000):
        yield "POST", "/api/photos/0/status", {}, json.dumps({"status": status}).encode()
        yield "POST", "/api/photos/0/status", {}, json.dumps({"status": "done", "path": status}).encode()
    # invalid actions
    for body in NO_JSON:
        yield action(body)
        yield "POST", "/api/photos/0/status", {}, body
    yield from map(action, hostile_actions())
    # invalid pictures, too large ones, and formats that are not opened
    for content, name in itertools.product(broken_pictures(picture), ("a.png", "../../a.png", "%00")):
        yield "POST", f"/api/photos?name={name}", {}, content
    for header in ("-1", "1e3", "99999999999999999", str(MAX_FILE_BYTES + 1), "abc"):
        yield "POST", "/api/photos?name=a.png", {"Content-Length": header}, b""
        yield "POST", "/api/photos/0/do", {"Content-Length": header}, b""
    yield "POST", "/api/photos/0/do", {}, b" " * (2 * 2**20 + 1)
    for name, value in (("Transfer-Encoding", "chunked, gzip"), ("Expect", "200-ok"), ("Upgrade", "websocket")):
        yield "POST", "/nowhere", {name: value}, good


def ask(port: int, request: Request) -> int:
    """Send a request over a socket, so that no client corrects it; returns the status."""
    method, path, given, body = request
    headers = {"Host": f"127.0.0.1:{port}", "Origin": f"http://127.0.0.1:{port}", "Content-Length": str(len(body))}
    headers |= {"Connection": "close", **given}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if not (name == "Origin" and not value))
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        with contextlib.suppress(OSError):  # refused before all of it was sent
            connection.sendall(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        response = b""
        while b"\r\n" not in response and (more := connection.recv(4096)):
            response += more
    assert response, (method, path[:80], given, body[:80])
    return int(response.split()[1])


def test_a_thousand_hostile_requests(net, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, access):
        page = Page(client).click(55, 30)
        client.get("/api/export?kinds=png")  # so that all files are written
        before, state = _files(tmp_path), page.state
        requests = list(hostile(pictures[0].read_bytes(), access.port))
        statuses = [(ask(access.port, request), request) for request in requests]
        wrong = [(status, request[0], request[1][:80], request[2], request[3][:80]) for status, request in statuses
                 if not 400 <= status < 500]  # fmt: skip
        assert not wrong
        assert len(requests) >= 1000, len(requests)
        assert len(Counter(status for status, _ in statuses)) >= 8
        assert _files(tmp_path) == before
        page.take(client.get("/api/photos/0/state"))
        same = ("objects", "active", "interactions", "can_undo", "can_redo")
        assert {key: page.state[key] for key in same} == {key: state[key] for key in same}
        assert len(page.click(5, 5).state["interactions"]) == 2


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_body_beyond_its_limit_is_not_read(net, pictures, tmp_path):
    """Chunked, so that no header has its length."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 400 * 2**20:
            sent += 2**20
            yield bytes(2**20)

    with served(net, pictures, tmp_path / "out") as (client, _):
        with contextlib.suppress(httpx.TransportError):  # the connection is closed before the whole body is sent
            assert client.post("/api/photos/0/do", content=endless()).status_code == 413
        assert sent < 64 * 2**20
        assert client.get("/api/project").status_code == 200


def test_responses_have_security_headers(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        for path in ("/", "/static/main.js", "/api/project", "/nowhere", "/api/photos/0/image"):
            headers = client.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"


def test_the_page_loads_nothing_from_other_sites():
    for path in STATIC.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text and "eval(" not in text, path.name


def test_beyond_the_loopback_address_a_token_is_needed(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out", host="127.0.0.1") as (client, access):
        assert access.token is not None and len(access.token) >= 32
        for path in (
            "/",
            "/api/project",
            "/static/main.js",
            f"/api/project?token={access.token}",
            "/?token=",
            "/?token=no",
        ):
            assert client.get(path).status_code == 401
        client.cookies.set(access.cookie, "x" * len(access.token))
        assert client.get("/api/project").status_code == 401
        client.cookies.clear()
        # A link with the token may be followed from another site's page; no other request may come from there.
        elsewhere = {"Sec-Fetch-Site": "cross-site"}
        assert client.get("/?token=no", headers=elsewhere).status_code == 403
        logged_in = client.get(f"/?token={access.token}", headers=elsewhere)
        assert logged_in.status_code == 200 and 'http-equiv="refresh" content="0;url=/"' in logged_in.text
        assert client.get("/", headers=elsewhere).status_code == 403
        assert f"interactify_token_{access.port}=" in logged_in.headers["set-cookie"]
        assert "httponly" in logged_in.headers["set-cookie"].lower()
        assert "samesite=strict" in logged_in.headers["set-cookie"].lower()
        assert client.get("/api/project").status_code == 200
        own_cookie = f"{access.cookie}={access.token}"
        client.cookies.clear()
        for cookies in (f'theme={{"a": 1}}; {own_cookie}', f"{own_cookie}; x=;;=", f"a b c;{own_cookie}"):
            assert client.get("/api/project", headers={"Cookie": cookies}).status_code == 200, cookies
        client.cookies.set(access.cookie, access.token)
        assert Page(client).click(55, 30).state["result"]["satisfied"]
    assert Access.create("127.0.0.1", 1).token != Access.create("127.0.0.1", 1).token
    assert Access.create(None, 1).token is None


@pytest.mark.parametrize(
    ("host", "requested", "allowed"),
    [
        (None, "127.0.0.1:80", True),
        (None, "localhost:80", True),
        (None, "LOCALHOST:80", True),
        (None, "[::1]:80", True),
        (None, "127.0.0.1", True),
        (None, "192.168.0.5:80", False),
        (None, "127.0.0.1:81", False),
        ("192.168.0.5", "192.168.0.5:80", True),
        ("192.168.0.5", "192.168.0.6:80", False),
        ("0.0.0.0", "192.168.0.6:80", True),
        ("0.0.0.0", "evil.example:80", False),
        ("::", "[fe80::1]:80", True),
    ],
)
def test_allowed_host_headers(host, requested, allowed):
    assert Access(host, 80).allows_host(requested) is allowed
