"""Fetches the photos of Label Studio's tasks: from its server with either kind of its tokens, from elsewhere without.

Label Studio has two kinds of tokens. A personal access token is a JWT; `/api/token/refresh/` exchanges it for access
tokens, which are valid for some minutes. A legacy token is sent as it is; new installations refuse it by default.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import os
import ssl
import sys
import threading
import time
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import IO, Any, Final
from urllib import request
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, unquote, unquote_to_bytes, urlsplit

from interactify._version import __version__
from interactify.errors import OptionError, PhotoError, text_of

URL, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"  # environment variables: Label Studio's address, and a key for it
TIMEOUT: Final = 30.0  # seconds that a server may be silent
MOST_KEPT: Final = 4  # photos whose files are kept: each click of a task asks for its photo again
MOST_KEPT_BYTES: Final = 256 * 2**20
WEB: Final = ("http", "https")
NEW_TOKEN: Final = f"a personal access token (Label Studio: Account & Settings, Personal Access Token) in {KEY}"


class LabelStudio:
    """A Label Studio server and the key of one of its users; the last photos stay in memory.

    Args:
        url: where it listens, such as "http://localhost:8080"; "" where it is not known.
        key: a personal access token, or a legacy one; "" where there is none.

    Raises:
        OptionError: `url` is no address of a web server, or `key` has characters that no token has.

    >>> LabelStudio("localhost:8080", "")
    Traceback (most recent call last):
    interactify.errors.OptionError: Expected LABEL_STUDIO_URL as http://host:port, got 'localhost:8080'. Try ...
    """

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url.strip().rstrip("/"), key.strip()
        if self.url and (_origin(self.url) is None):
            raise OptionError(
                f"Expected {URL} as http://host:port, got {text_of(url)}. Try http://localhost:8080, or the address "
                "that the browser shows."
            )
        if not (self.key.isascii() and self.key.isprintable()) or " " in self.key:
            raise OptionError(
                f"Expected one token in {KEY}, without spaces, got other characters. Try to copy it anew."
            )
        self._access: tuple[str, float] | None = None  # an access token, and until when it is good (time.monotonic)
        self._renewing = threading.Lock()
        self._kept: OrderedDict[tuple[str, Any], bytes] = OrderedDict()  # the last used is last
        self._keeping = threading.Lock()

    def fetch(self, address: str, task: int | str | None = None) -> bytes:
        """The file of a photo.

        Args:
            address: of a task: a `data:` or `file:` URI, a path on this machine, a path of Label Studio
                ("/data/upload/…", "/data/local-files/?d=…"), a storage's file ("s3://…"), or "http(s)://…".
            task: the task's id, by which Label Studio finds a storage's file.

        Raises:
            PhotoError: it can't be had; the text names the address, the status and what to try.
        """
        if address.startswith("data:"):
            return _inline(address)
        if path := local_path(address):
            try:
                return path.read_bytes()
            except OSError as cause:
                raise PhotoError(
                    f"Expected the photo {text_of(address)}, but its file can't be read ({cause.strerror or cause}). "
                    "Try the permissions of the file."
                ) from cause
        with self._keeping:
            if kept := self._kept.get((address, task)):
                self._kept.move_to_end((address, task))
                return kept
        data = self._download(address, self._located(address, task))
        with self._keeping:
            self._kept[address, task] = data
            while len(self._kept) > MOST_KEPT or sum(map(len, self._kept.values())) > MOST_KEPT_BYTES:
                self._kept.popitem(last=False)
        return data

    def _located(self, address: str, task: int | str | None) -> str:
        """The URL of a photo that is not on this machine."""
        scheme = urlsplit(address).scheme.lower()
        if scheme in WEB:
            return _quoted(address)
        if scheme == "file":
            raise PhotoError(
                f"Expected the photo {text_of(address)} on the machine that the backend runs on, got no file. Try to "
                "upload it to Label Studio."
            )
        if not self.url:
            raise PhotoError(
                f"Expected {URL}, Label Studio's address, to fetch the photo {text_of(address)}, got none. Try "
                f"{URL}=http://localhost:8080 and {NEW_TOKEN}, in the environment of `interactify label-studio`."
            )
        if len(scheme) > 1:  # s3, gs, azure-blob, …; one letter is a drive of Windows
            if task is None:
                raise PhotoError(
                    f"Expected a task with an id, by which Label Studio finds {text_of(address)}, got none. Try a task "
                    "that is saved."
                )
            name = quote(quote(address, safe=":/"), safe=":/")  # Label Studio undoes it twice
            return f"{self.url}/tasks/{task}/presign/?fileuri={name}"
        path = "/" + _quoted(address).lstrip("/")
        if path.startswith("/upload/"):
            path = "/data" + path
        # Of a Label Studio in a folder of a site, which some versions write themselves.
        prefix = urlsplit(self.url).path
        return self.url + (path.removeprefix(prefix) if prefix and path.startswith(prefix + "/") else path)

    def _download(self, address: str, url: str) -> bytes:
        """What is at a URL, or why it can't be had."""
        try:
            data, kind, final = self._opened(url)
        except HTTPError as refusal:
            with refusal:
                raise PhotoError(
                    f"Expected the photo {text_of(address)}, got status {refusal.code}{_detail(refusal)} from "
                    f"{_shown(refusal.url)}. Try {self._advice(refusal.url, refusal.code)}."
                ) from refusal
        except (OSError, http.client.HTTPException, ValueError) as cause:
            raise PhotoError(
                f"Expected the photo {text_of(address)}, but {_shown(url)} can't be reached ({_reason(cause)}). Try "
                f"whether it opens on the machine that the backend runs on{self._naming(url)}."
            ) from cause
        if kind == "text/html":
            raise PhotoError(
                f"Expected the photo {text_of(address)}, got a web page from {_shown(final)}, perhaps one to log in. "
                f"Try {self._advice(final, 401)}."
            )
        return data

    def _opened(self, url: str) -> tuple[bytes, str, str]:
        """As `_get`, with the key if the URL is Label Studio's; once more where an access token has expired."""
        if _origin(url) != _origin(self.url):
            return _get(url, None)
        may_have_expired = self._access is not None
        try:
            return _get(url, self._authorization())
        except HTTPError as refusal:
            # To Label Studio an expired token is none at all, which some of its views answer with 403.
            if refusal.code not in (401, 403) or not may_have_expired:
                raise
            refusal.close()
        self._access = None
        return _get(url, self._authorization())

    @property
    def _personal(self) -> bool:
        """Whether the key is a personal access token: a JWT has three parts with dots between, a legacy token none."""
        return self.key.count(".") == 2

    def _authorization(self) -> str | None:
        """The header that opens Label Studio's files; raises PhotoError where a personal access token is refused."""
        if not self.key:
            return None
        if not self._personal:
            return f"Token {self.key}"
        with self._renewing:
            if self._access is None or self._access[1] <= time.monotonic():
                self._access = self._renewed()
            return f"Bearer {self._access[0]}"

    def _renewed(self) -> tuple[str, float]:
        """An access token for the personal access token, and until when it is good."""
        url = f"{self.url}/api/token/refresh/"
        sent = request.Request(
            url, json.dumps({"refresh": self.key}).encode(), {**_agent(), "Content-Type": "application/json"}
        )
        begun = time.monotonic()
        try:
            with _opener().open(sent, timeout=TIMEOUT) as response:
                token = json.loads(response.read())["access"]
            if not isinstance(token, str):
                raise TypeError(token)
        except HTTPError as refusal:
            with refusal:
                if moved := refusal.headers.get("Location"):
                    advice = f"{URL} with the address that it redirects to, {_shown(moved)}"
                elif refusal.code == 404:
                    advice = f"whether {URL} is Label Studio's address; old versions of it know legacy tokens only"
                else:
                    advice = f"{NEW_TOKEN}: this one has expired, was revoked, or is another server's"
                raise PhotoError(
                    f"Expected an access token for the personal access token in {KEY}, got status "
                    f"{refusal.code}{_detail(refusal)} from {url}. Try {advice}."
                ) from refusal
        except (OSError, http.client.HTTPException) as cause:
            raise PhotoError(
                f"Expected an access token for the personal access token in {KEY}, but {url} can't be reached "
                f"({_reason(cause)}). Try whether it opens on the machine that the backend runs on{self._naming(url)}."
            ) from cause
        except (ValueError, KeyError, TypeError) as cause:
            raise PhotoError(
                f'Expected {{"access": "…"}} from {url}, got another response. Try whether {URL} is Label Studio\'s '
                "address."
            ) from cause
        return token, begun + _lifetime(token)

    def _advice(self, url: str, status: int) -> str:
        """What to try after a refusal."""
        if _origin(url) != _origin(self.url):
            return "whether the address opens in a browser that is logged in nowhere"
        if status not in (401, 403):
            return "whether Label Studio itself shows this task's photo"
        if not self.key:
            return NEW_TOKEN
        if not self._personal:
            return f"{NEW_TOKEN}: legacy tokens are refused unless Label Studio's organisation allows them"
        if status == 401:
            return "whether Label Studio's organisation allows personal access tokens (Access Token Settings)"
        return (
            "the token of a user who may see the task; for local files, LOCAL_FILES_SERVING_ENABLED=true where Label "
            "Studio runs"
        )

    def _naming(self, url: str) -> str:
        return f", and whether {URL} is right" if _origin(url) == _origin(self.url) else ""


def local_path(address: str) -> Path | None:
    """The file of an address, where it lies on this machine.

    Label Studio's local files are looked for below `LOCAL_FILES_DOCUMENT_ROOT`, and its uploads where it keeps them for
    this user by default.

    >>> local_path("/data/upload/3/no-such-photo.png") is None
    True
    """
    parts = urlsplit(address)
    if parts.scheme == "file":
        path = Path(request.url2pathname(parts.path))
        return path if _is_file(path) else None
    candidates = [Path(address)] if Path(address).is_absolute() else []
    if not parts.scheme:
        below = parts.path.lstrip("/").removeprefix("data/")
        if below.startswith("local-files") and (named := parse_qs(parts.query).get("d")):
            root = os.environ.get("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT") or os.environ.get(
                "LOCAL_FILES_DOCUMENT_ROOT"
            )
            candidates.append(Path(root or os.path.abspath(os.sep)) / named[0].lstrip("/"))
        if below.startswith("upload/"):
            candidates.append(_data_folder() / "media" / unquote(below))
    return next((path for path in candidates if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a zero byte: an address, and no path
        return False


def _data_folder() -> Path:
    """Where Label Studio keeps its files unless it is started with another folder."""
    if named := os.environ.get("LABEL_STUDIO_BASE_DATA_DIR"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "label-studio" / "label-studio"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "label-studio"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "label-studio"


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects: on the same server with the key, to every other without it, and none of a POST."""

    def redirect_request(
        self, req: request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> request.Request | None:
        if req.data is not None:  # urllib would make a GET of it
            return None
        followed = super().redirect_request(req, fp, 307 if code == 308 else code, msg, headers, newurl)
        key = req.unredirected_hdrs.get("Authorization")
        if followed and key and _keeps_key(req.full_url, newurl):
            followed.add_unredirected_header("Authorization", key)
        return followed

    http_error_308 = request.HTTPRedirectHandler.http_error_302  # Python 3.10 does not follow it


def _keeps_key(old: str, new: str) -> bool:
    """Whether a redirect stays on a server; the same host's https in place of its http is the same server."""
    before, after = _origin(old), _origin(new)
    return before == after or (before is not None and after == ("https", before[1], 443) and before[2] == 80)


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of a URL; None where it is none of a web server."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in WEB or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


@cache
def _opener() -> request.OpenerDirector:
    """Opens http and https alone, since a redirect could lead to a file of this machine."""
    trusted = ssl.create_default_context()
    try:  # Python from python.org comes without certificates on macOS
        import certifi

        trusted.load_verify_locations(certifi.where())
    except (ImportError, OSError):
        pass
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(), request.HTTPHandler(), request.HTTPSHandler(context=trusted), _Redirects(),
        request.HTTPDefaultErrorHandler(), request.HTTPErrorProcessor(), request.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def _agent() -> dict[str, str]:
    return {"User-Agent": f"interactify/{__version__}"}


def _get(url: str, authorization: str | None) -> tuple[bytes, str, str]:
    """The body, its content type, and the URL that it came from in the end."""
    sent = request.Request(url, headers=_agent())
    if authorization:
        sent.add_unredirected_header("Authorization", authorization)
    with _opener().open(sent, timeout=TIMEOUT) as response:
        return response.read(), response.headers.get_content_type(), response.url


def _quoted(address: str) -> str:
    """An address with spaces, umlauts and the like escaped; what is escaped already stays."""
    return quote(address, safe="%/:=&?~#+!$,;'@()*[]")


def _shown(url: str) -> str:
    """A URL without its query: those of cloud storages carry a signature."""
    return url.split("?")[0]


def _reason(cause: BaseException) -> str:
    return str(getattr(cause, "reason", None) or cause) or type(cause).__name__


def _detail(refusal: HTTPError) -> str:
    """The reason that Label Studio gives in JSON, in brackets; nothing where it gives none."""
    try:
        reason = json.loads(refusal.read(10_000))["detail"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return ""
    return f" ({' '.join(str(reason).split())[:200]})"


def _lifetime(token: str) -> float:
    """For how many seconds an access token may be used: its own lifetime, by the server's clock, less a tenth.

    A token that does not say when it ends is used until it is refused.

    >>> body = base64.urlsafe_b64encode(b'{"iat": 1000, "exp": 1300}').decode().rstrip("=")
    >>> _lifetime(f"e30.{body}.signature"), _lifetime("opaque")
    (270.0, inf)
    """
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return 0.9 * (float(claims["exp"]) - float(claims["iat"]))
    except (IndexError, ValueError, KeyError, TypeError):
        return float("inf")


def _inline(uri: str) -> bytes:
    """The bytes of a data URI."""
    head, _, text = uri.partition(",")
    try:
        return base64.b64decode(unquote(text), validate=True) if head.endswith(";base64") else unquote_to_bytes(text)
    except (binascii.Error, ValueError) as cause:
        raise PhotoError(f"Expected a data URI with a picture file in base64: {cause}.") from cause
