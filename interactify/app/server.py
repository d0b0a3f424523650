"""Which address answers what. Nothing here waits: what takes time is done in threads, and told as it comes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from interactify.app.actions import Action, check, read_action
from interactify.app.desk import Desk
from interactify.app.desks import Desks
from interactify.app.failing import Busy, Failed, told
from interactify.app.frames import frame, mask_part
from interactify.app.pictures import as_jpeg, thumbnail
from interactify.app.security import Door, Guard, TooLong, refused
from interactify.app.showing import BACKGROUNDS
from interactify.app.sight import Sight, read_sight
from interactify.app.store import exporting
from interactify.app.store.project import STATUSES, Photo, Project
from interactify.errors import InteractifyError, NonFiniteError, NotEnoughMemoryError, OptionError, PhotoError
from interactify.export import voc_palette
from interactify.interactive import Interactive
from interactify.session.session import Session

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
FRAMES: Final = "application/x-interactify-frames"
THUMB: Final = 160  # pixels


def build(net: Interactive, project: Project, door: Door) -> Guard:
    """The server's application: a page for `project`, whose photos are segmented by `net`, behind a door."""
    app = App(net, project)
    routes = [
        Route("/", app.page),
        Route("/static/{name}", app.static),
        Route("/api/project", app.project_told),
        Route("/api/photos", app.bring, methods=["POST"]),
        Route("/api/photos/{number}/image", app.image),
        Route("/api/photos/{number}/thumb", app.thumb),
        Route("/api/photos/{number}/state", app.state),
        Route("/api/photos/{number}/plain", app.plain),
        Route("/api/photos/{number}/do", app.do, methods=["POST"]),
        Route("/api/photos/{number}/cancel", app.cancel, methods=["POST"]),
        Route("/api/photos/{number}/status", app.status, methods=["POST"]),
        Route("/api/export", app.export),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(app.desks.close)
        for trouble in app.desks.saver.trouble.values():
            print(f"interactify: {trouble}", file=sys.stderr)

    answers: dict[Any, Any] = {
        HTTPException: _http,
        InteractifyError: _foreseen,
        TooLong: _too_long,
        ClientDisconnect: _gone,
        Exception: _unforeseen,
    }
    return Guard(Starlette(routes=routes, exception_handlers=answers, lifespan=lifespan), door)


class App:
    """The routes, each a method."""

    def __init__(self, net: Interactive, project: Project) -> None:
        self.net, self.project, self.desks = net, project, Desks(net, project)
        self._thumbs: dict[int, tuple[Any, bytes]] = {}
        self._drawing_thumbs = CapacityLimiter(1)  # a folder has many, and one's click is not to wait for them
        self._static = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}

    async def page(self, request: Request) -> Response:
        return Response(self._static["index.html"], media_type=TYPES[".html"])

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404)
        return Response(self._static[name], media_type=TYPES[Path(name).suffix])

    async def project_told(self, request: Request) -> Response:
        spec = self.net.spec
        count = spec.output.classes if spec.output.classes > 1 else 0
        names = spec.class_names or tuple(f"class {k}" for k in range(count))
        colours = voc_palette()
        classes = [
            {
                "name": names[k],
                "colour": "#" + bytes(colours[k % 256]).hex(),
                "background": names[k].lower() in BACKGROUNDS,
            }
            for k in range(count)
        ]
        return JSONResponse(
            {
                "photos": [_photo(photo) for photo in self.project.photos],
                "classes": classes,
                "network": spec.family or type(self.net.unwrap()).__name__,
                "out": self.project.out.name,
                "exports": [
                    {"name": name, "says": kind.says, "at_hand": kind.at_hand} for name, kind in exporting.KINDS.items()
                ],
                "trouble": list(self.desks.saver.trouble.values()),
            }
        )

    async def bring(self, request: Request) -> Response:
        name = request.query_params.get("name", "photo")[:200]
        content = await request.body()
        return JSONResponse(_photo(await run_in_threadpool(self.project.bring, name, content)), 201)

    async def image(self, request: Request) -> Response:
        photo = self._photo(request)
        return Response(await run_in_threadpool(as_jpeg, photo.path), media_type="image/jpeg")

    async def thumb(self, request: Request) -> Response:
        photo = self._photo(request)
        known, seen = self._thumbs.get(photo.number), _changed_at(photo)
        if known is None or known[0] != seen:
            made = await to_thread.run_sync(thumbnail, photo.path, THUMB, limiter=self._drawing_thumbs)
            known = self._thumbs[photo.number] = seen, made
        return Response(known[1], media_type="image/jpeg")

    async def state(self, request: Request) -> Response:
        return await self._stream(await self._desk(request), None, _wants_classes(request))

    async def plain(self, request: Request) -> Response:
        """The network's own mask, before anything was said."""
        session = await _opened(await self._desk(request))

        def made() -> bytes:
            part = mask_part("", session.initial_step.result.mask, None)
            return frame({"kind": "plain"}, [part] if part else [])

        return Response(await run_in_threadpool(made), media_type=FRAMES)

    async def do(self, request: Request) -> Response:
        desk = await self._desk(request)
        action = read_action(await _json(request))
        session = await _opened(desk)
        check(action, session)
        sight = read_sight(request.query_params.get("see"), session.size)
        return await self._stream(desk, action, _wants_classes(request), sight)

    async def cancel(self, request: Request) -> Response:
        (await self._desk(request)).cancel()
        return Response(status_code=204)

    async def status(self, request: Request) -> Response:
        photo = self._photo(request)
        said = await _json(request)
        if not isinstance(said, dict) or list(said) != ["status"] or said["status"] not in STATUSES:
            raise HTTPException(422, 'Expected {"status": "open", "done" or "skipped"}.')

        def marked() -> Photo:
            marked = self.project.mark(photo.number, status=said["status"])
            self.desks.write(marked)
            return marked

        return JSONResponse(_photo(await run_in_threadpool(marked)))

    async def export(self, request: Request) -> Response:
        kinds = exporting.kinds_named(request.query_params.get("kinds", ""))
        named = request.query_params.get("photo")
        photo = None if named is None else self._numbered(named)

        session = None if photo is None else await _opened(await self._desk_of(photo))

        def made() -> bytes:
            self.desks.wait_until_caught_up()
            self.desks.saver.flush(None if photo is None else photo.number)
            photos = self.project.photos if photo is None else (photo,)
            saver = self.desks.saver
            behind = [saver.trouble.get(each.number) for each in photos if saver.holds(each.number)]
            for trouble in filter(None, behind):  # what is on the disk is not what was said last
                raise OptionError(trouble)
            with self.desks.saver.still():
                return exporting.zipped(kinds, photos, self.project.out, self.desks.saver.annotations, session)

        name = "interactify" if photo is None else photo.key
        in_ascii = name.encode("ascii", "replace").decode().replace("?", "-")
        its_name = f"filename=\"{in_ascii}.zip\"; filename*=UTF-8''{quote(name)}.zip"
        named_so = {"Content-Disposition": f"attachment; {its_name}"}
        return Response(await run_in_threadpool(made), media_type="application/zip", headers=named_so)

    async def _stream(self, desk: Desk, action: Action | None, classes: bool, sight: Sight | None = None) -> Response:
        """What comes of an action, frame by frame; an error where it comes to nothing."""
        loop, coming = asyncio.get_running_loop(), asyncio.Queue[bytes | Exception | None]()

        def emit(each: bytes | Exception | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(coming.put_nowait, each)

        desk.submit(action, emit, classes=classes, sight=sight)
        first = await coming.get()
        if isinstance(first, Exception):
            raise told(first)

        async def frames() -> AsyncIterator[bytes]:
            each: bytes | Exception | None = first
            while each is not None:
                yield _error_frame(each) if isinstance(each, Exception) else each
                each = await coming.get()

        return StreamingResponse(frames(), media_type=FRAMES)

    async def _desk(self, request: Request) -> Desk:
        return await self._desk_of(self._photo(request))

    async def _desk_of(self, photo: Photo) -> Desk:
        desk = self.desks.open_at(photo)
        return await run_in_threadpool(self.desks.at, photo) if desk is None else desk

    def _photo(self, request: Request) -> Photo:
        photo = self._numbered(request.path_params["number"])
        if request.query_params.get("of", photo.key) != photo.key:
            raise HTTPException(409, "The photos are others than when this page was opened. Load it again.")
        return photo

    def _numbered(self, text: str) -> Photo:
        photo = self.project.photo(int(text)) if text.isascii() and text.isdigit() and len(text) < 8 else None
        if photo is None:
            raise HTTPException(404, "There is no such photo.")
        return photo


def _photo(photo: Photo) -> dict[str, Any]:
    told = {"number": photo.number, "key": photo.key, "name": photo.name}
    return {**told, "status": photo.status, "said": photo.said}


async def _opened(desk: Desk) -> Session:
    """A desk's session, once it is there; no thread waits for it."""
    try:
        return await asyncio.wrap_future(desk.opening)
    except Exception as cause:
        raise told(cause) from cause


def _changed_at(photo: Photo) -> int | None:
    try:
        return photo.path.stat().st_mtime_ns
    except OSError:  # then making a thumbnail of it tells why
        return None


def _wants_classes(request: Request) -> bool:
    return request.query_params.get("classes") == "1"


async def _json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as cause:
        raise HTTPException(400, "Expected JSON.") from cause


def _error_frame(cause: Exception) -> bytes:
    return frame({"kind": "error", "error": str(told(cause))}, [])


async def _http(request: Request, cause: HTTPException) -> Response:
    return refused(cause.status_code, cause.detail)


async def _too_long(request: Request, cause: TooLong) -> Response:
    return refused(413, "That is too long.")


async def _gone(request: Request, cause: ClientDisconnect) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _foreseen(request: Request, cause: InteractifyError) -> Response:
    network = isinstance(cause, (Failed, NonFiniteError, NotEnoughMemoryError))
    status = 429 if isinstance(cause, Busy) else 415 if isinstance(cause, PhotoError) else 500 if network else 422
    return refused(status, str(cause))


async def _unforeseen(request: Request, cause: Exception) -> Response:
    return refused(500, f"Something failed that nobody foresaw ({type(cause).__name__}). The server goes on.")
