"""Photos of Label Studio's tasks: both kinds of tokens, expiry, redirects, and errors that say what to try."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from interactify.errors import OptionError, PhotoError
from interactify.tools import label_studio_photos
from interactify.tools.label_studio_photos import LabelStudio
from tests.fixtures.label_studio_fake import LEGACY, PERSONAL, FakeLabelStudio, fake_label_studio

UPLOAD, REFRESH = "/data/upload/3/cup.png", "/api/token/refresh/"


@pytest.fixture(autouse=True)
def _no_files_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", "LOCAL_FILES_DOCUMENT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LABEL_STUDIO_BASE_DATA_DIR", str(tmp_path / "label-studio"))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with fake_label_studio(files={UPLOAD: b"cup", "/data/upload/3/spoon.png": b"spoon"}) as server:
        yield server


@pytest.fixture
def elsewhere() -> Iterator[FakeLabelStudio]:
    """Another host: a cloud storage."""
    with fake_label_studio(files={"/public/cup.png": b"cup in the cloud"}) as server:
        yield server


def refused(server: LabelStudio, address: str, task: int | None = None) -> str:
    with pytest.raises(PhotoError) as caught:
        server.fetch(address, task)
    assert PERSONAL not in str(caught.value) and LEGACY not in str(caught.value), "an error shows no token"
    return str(caught.value)


def test_a_personal_access_token_is_exchanged_once_for_an_access_token(fake: FakeLabelStudio):
    server = LabelStudio(fake.url + "/", f" {PERSONAL}\n")
    assert server.fetch(UPLOAD) == b"cup" and server.fetch("/data/upload/3/spoon.png") == b"spoon"
    (bearer,) = fake.valid
    assert fake.asked == [
        ("POST", REFRESH, None), ("GET", UPLOAD, bearer), ("GET", "/data/upload/3/spoon.png", bearer)
    ]  # fmt: skip
    assert [json.loads(body) for body in fake.bodies] == [{"refresh": PERSONAL}]


def test_a_legacy_token_is_sent_as_it_is(fake: FakeLabelStudio):
    fake.legacy_allowed = True
    assert LabelStudio(fake.url, LEGACY).fetch(UPLOAD) == b"cup"
    assert fake.asked == [("GET", UPLOAD, f"Token {LEGACY}")]


def test_an_access_token_is_renewed_before_it_expires(fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch):
    clock = SimpleNamespace(now=50.0)
    monkeypatch.setattr(label_studio_photos, "time", SimpleNamespace(monotonic=lambda: clock.now))
    server = LabelStudio(fake.url, PERSONAL)
    fake.files |= {f"/data/upload/3/{k}.png": b"a photo" for k in range(3)}
    for k, (now, issued) in enumerate(((50.0, 1), (319.0, 1), (320.5, 2))):  # the last tenth of 300 seconds is not used
        clock.now = now
        assert server.fetch(f"/data/upload/3/{k}.png") == b"a photo" and fake.issued == issued
    assert [path for method, path, _ in fake.asked if method == "GET"] == [f"/data/upload/3/{k}.png" for k in range(3)]


@pytest.mark.parametrize("refusal", [401, 403])
def test_an_access_token_that_ends_early_is_renewed_and_the_request_repeated(fake: FakeLabelStudio, refusal: int):
    """As after a restart of Label Studio with another secret key; some of its views answer strangers with 403."""
    server = LabelStudio(fake.url, PERSONAL)
    server.fetch(UPLOAD)
    fake.valid.clear()
    fake.asked.clear()
    fake.refusal = refusal
    assert server.fetch("/data/upload/3/spoon.png") == b"spoon"
    assert fake.paths() == ["/data/upload/3/spoon.png", REFRESH, "/data/upload/3/spoon.png"]


def test_it_is_repeated_once_and_not_for_ever(fake: FakeLabelStudio):
    server = LabelStudio(fake.url, PERSONAL)
    server.fetch(UPLOAD)
    fake.before_file = fake.valid.clear
    fake.asked.clear()
    text = refused(server, "/data/upload/3/spoon.png")
    assert fake.paths() == ["/data/upload/3/spoon.png", REFRESH, "/data/upload/3/spoon.png"]
    assert "got status 401" in text and "allows personal access tokens" in text
    fake.asked.clear()
    refused(LabelStudio(fake.url, PERSONAL), UPLOAD)
    assert fake.paths() == [REFRESH, UPLOAD], "a token that was made just now has not expired"


def test_threads_share_one_renewal(fake: FakeLabelStudio):
    server = LabelStudio(fake.url, PERSONAL)
    got: list[bytes] = []
    threads = [threading.Thread(target=lambda: got.append(server.fetch(UPLOAD))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [b"cup"] * 6 and fake.issued == 1


def test_refusals_say_which_token_to_make(fake: FakeLabelStudio):
    text = refused(LabelStudio(fake.url, LEGACY), UPLOAD)
    assert f"{UPLOAD!r}, got status 401 (Authentication credentials were not provided.) from {fake.url}" in text
    assert "LABEL_STUDIO_API_KEY" in text and "legacy tokens are refused" in text
    text = refused(LabelStudio(fake.url, ""), UPLOAD)
    assert "got status 401" in text and "personal access token (Label Studio: Account & Settings" in text
    text = refused(LabelStudio(fake.url, "e30.e30.revoked"), UPLOAD)
    assert f"got status 401 (Token is invalid) from {fake.url}{REFRESH}" in text and "was revoked" in text
    assert "got status 404" in refused(LabelStudio(fake.url, PERSONAL), "/data/upload/3/gone.png")
    fake.refusal, fake.before_file = 403, fake.valid.clear
    assert "LOCAL_FILES_SERVING_ENABLED" in refused(LabelStudio(fake.url, PERSONAL), "/data/local-files/?d=a/b.png")


def test_a_server_that_knows_no_personal_tokens(elsewhere: FakeLabelStudio, fake: FakeLabelStudio):
    assert "old versions" in refused(LabelStudio(f"{fake.url}/no-label-studio", PERSONAL), UPLOAD)
    for status in (301, 302, 303, 307, 308):
        fake.redirects[REFRESH] = status, f"{elsewhere.url}{REFRESH}?secret"
        text = refused(LabelStudio(fake.url, PERSONAL), UPLOAD)
        assert f"got status {status}" in text and f"redirects to, {elsewhere.url}{REFRESH}." in text
    assert not elsewhere.asked, "the personal access token goes to no other server"


def test_another_answer_than_an_access_token(fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch):
    for token in (None, 7, {"a": 1}):
        monkeypatch.setattr(FakeLabelStudio, "new_access", lambda self, token=token: token)
        assert '{"access": "…"}' in refused(LabelStudio(fake.url, PERSONAL), UPLOAD)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_goes_without_the_key(
    fake: FakeLabelStudio, elsewhere: FakeLabelStudio, status: int
):
    """Label Studio sends to a storage's own signed address, which refuses a request with two authorisations."""
    presign = "/tasks/7/presign/?fileuri=s3://bucket/cup.png"
    fake.redirects[presign] = status, f"{elsewhere.url}/public/cup.png"
    server = LabelStudio(fake.url, PERSONAL)
    assert server.fetch("s3://bucket/cup.png", 7) == b"cup in the cloud"
    assert elsewhere.asked == [("GET", "/public/cup.png", None)]
    assert fake.asked[-1][1:] == (presign, *fake.valid)


def test_a_redirect_on_the_same_server_keeps_the_key_and_one_that_comes_back_does_not(
    fake: FakeLabelStudio, elsewhere: FakeLabelStudio
):
    fake.redirects["/old/cup.png"] = 302, UPLOAD
    assert LabelStudio(fake.url, PERSONAL).fetch("/old/cup.png") == b"cup"
    fake.redirects["/far/cup.png"] = 302, f"{elsewhere.url}/back"
    elsewhere.redirects["/back"] = 302, f"{fake.url}{UPLOAD}"
    assert "got status 401" in refused(LabelStudio(fake.url, PERSONAL), "/far/cup.png")
    assert fake.asked[-1] == ("GET", UPLOAD, None)


def test_the_https_of_a_host_is_the_same_server_as_its_http():
    keeps = label_studio_photos._keeps_key
    assert keeps("http://a.org/x", "https://A.org/x") and keeps("http://a.org:80/x", "https://a.org:443/y")
    for old, new in (
        ("https://a.org/x", "http://a.org/x"),
        ("http://a.org/x", "https://b.org/x"),
        ("http://a.org:8080/x", "https://a.org/x"),
        ("http://a.org/x", "https://a.org:8443/x"),
        ("http://a.org/x", "http://a.org.evil.org/x"),
        ("http://a.org/x", "http://a.org@evil.org/x"),
    ):
        assert not keeps(old, new)


def test_a_redirect_to_a_file_of_this_machine_is_refused(fake: FakeLabelStudio, tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    fake.redirects["/x"] = 302, (tmp_path / "secret.png").as_uri()
    assert "status 302" in refused(LabelStudio(fake.url, ""), f"{fake.url}/x")


def test_other_hosts_get_no_key(fake: FakeLabelStudio, elsewhere: FakeLabelStudio):
    server = LabelStudio(fake.url, PERSONAL)
    assert server.fetch(f"{elsewhere.url}/public/cup.png") == b"cup in the cloud"
    assert "logged in nowhere" in refused(server, f"{elsewhere.url}/private.png?signature=x")
    assert {key for *_, key in elsewhere.asked} == {None} and not fake.asked
    assert server.fetch(f"{fake.url}{UPLOAD}") == b"cup", "an absolute address of Label Studio itself"


def test_a_storages_file_is_named_exactly(fake: FakeLabelStudio):
    """Label Studio decodes the name twice: as part of a query, and then itself."""
    from urllib.parse import parse_qs, unquote, urlsplit

    name = "gs://bucket/ä b&c=d%20#1+2?.png"
    assert "got status 404" in refused(LabelStudio(fake.url, PERSONAL), name, 7)
    path = fake.paths()[-1]
    assert path.startswith("/tasks/7/presign/?fileuri=gs://bucket/")
    assert unquote(parse_qs(urlsplit(path).query)["fileuri"][0]) == name
    assert "task" in refused(LabelStudio(fake.url, PERSONAL), name), "without a task there is no such address"


def test_addresses_as_label_studio_writes_them(fake: FakeLabelStudio):
    fake.files |= {"/data/upload/3/a%20%C3%A4.png": b"quoted", "/ls/data/upload/3/b.png": b"below"}
    server = LabelStudio(fake.url, PERSONAL)
    assert server.fetch("/data/upload/3/a ä.png") == server.fetch("/data/upload/3/a%20%C3%A4.png") == b"quoted"
    assert server.fetch("upload/3/cup.png") == server.fetch("/upload/3/cup.png") == b"cup"
    fake.legacy_allowed = True
    below = LabelStudio(f"{fake.url}/ls", LEGACY)  # a Label Studio that is a folder of a site
    assert below.fetch("/data/upload/3/b.png") == below.fetch("/ls/data/upload/3/b.png") == b"below"


def test_a_page_to_log_in_is_no_photo(fake: FakeLabelStudio):
    fake.files["/user/login/"] = b"<html>"
    fake.redirects["/x.png"] = 302, "/user/login/"
    text = refused(LabelStudio(fake.url, PERSONAL), "/x.png")
    assert f"got a web page from {fake.url}/user/login/" in text


def test_a_server_that_does_not_answer():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for key in (PERSONAL, LEGACY):
        text = refused(LabelStudio(url, key), UPLOAD)
        assert url in text and "can't be reached" in text and "LABEL_STUDIO_URL" in text
    assert "LABEL_STUDIO_URL" not in refused(LabelStudio("http://127.0.0.1:1", PERSONAL), f"{url}/a.png")
    assert "LABEL_STUDIO_URL=http" in refused(LabelStudio("", PERSONAL), UPLOAD)


def test_bad_settings_are_refused_at_once():
    for url in ("localhost:8080", "ftp://a.org", "http://", "http://a.org:port", "nonsense"):
        with pytest.raises(OptionError, match="LABEL_STUDIO_URL as http://host:port"):
            LabelStudio(url, "")
    for key in ("two words", "a\r\nHost: b", "schlüssel"):
        with pytest.raises(OptionError, match="LABEL_STUDIO_API_KEY"):
            LabelStudio("http://a.org", key)


def test_the_last_photos_are_kept(fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch):
    fake.files |= {f"/data/upload/3/{k}.png": bytes([k]) for k in range(6)}
    server = LabelStudio(fake.url, PERSONAL)
    for _ in range(3):
        server.fetch("/data/upload/3/0.png")
    assert fake.paths() == [REFRESH, "/data/upload/3/0.png"]
    for k in (*range(5), 4, 0):
        assert server.fetch(f"/data/upload/3/{k}.png") == bytes([k])
    assert fake.paths().count("/data/upload/3/4.png") == 1 and fake.paths().count("/data/upload/3/0.png") == 2
    monkeypatch.setattr(label_studio_photos, "MOST_KEPT_BYTES", 4)
    server.fetch(UPLOAD)
    assert sum(map(len, server._kept.values())) <= 4


def test_photos_of_this_machine_need_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nowhere = LabelStudio("", "")
    photo = tmp_path / "a b.png"
    photo.write_bytes(b"here")
    assert nowhere.fetch(str(photo)) == nowhere.fetch(photo.as_uri()) == b"here"
    assert nowhere.fetch(f"data:image/png;base64,{base64.b64encode(b'inline').decode()}") == b"inline"
    assert nowhere.fetch(f"/data/local-files/?d={photo.as_posix().lstrip('/').replace(' ', '%20')}") == b"here"
    monkeypatch.setenv("LOCAL_FILES_DOCUMENT_ROOT", str(tmp_path))
    assert nowhere.fetch("/data/local-files/?d=a%20b.png") == b"here"
    uploads = tmp_path / "label-studio" / "media" / "upload" / "3"
    uploads.mkdir(parents=True)
    (uploads / "c ä.png").write_bytes(b"uploaded")
    assert nowhere.fetch("/data/upload/3/c%20%C3%A4.png") == b"uploaded"
    assert "LABEL_STUDIO_URL" in refused(nowhere, "/" + "x" * 5000)
    assert "no file" in refused(nowhere, (tmp_path / "gone.png").as_uri())
