"""The HTTP routes. No route blocks: slow work runs in threads, and its results are streamed as they come."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from interactify.app.at_service import AtService
from interactify.app.frames import frame, mask_part
from interactify.app.open_photo import OpenPhoto
from interactify.app.open_photos import OpenPhotos
from interactify.app.page_updates import BACKGROUNDS
from interactify.app.pictures import as_jpeg, thumbnail
from interactify.app.security import Access, Guard
from interactify.app.sessions import AnySession
from interactify.app.store.archive import KINDS, archive_of, read_kinds
from interactify.app.store.project import STATUSES, Photo, Project
from interactify.app.viewport import Shown, read_viewport
from interactify.errors import OptionError
from interactify.export import voc_palette
from interactify.pictures.value_range import ValueRange
from interactify.web.actions import Action, check, read_action
from interactify.web.failures import HANDLERS, result_of, user_error
from interactify.web.limits import read_body, read_json

if TYPE_CHECKING:  # they load torch, which a page at a service does without
    from interactify.app.lessons import Lessons, Plan
    from interactify.app.order import Uncertain
    from interactify.interactive import Interactive

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
FRAMES: Final = "application/x-interactify-frames"
KEPT_AFTER: Final = 1.0  # seconds after which a request does not wait any longer for a service that is away
THUMBNAIL: Final = 160  # pixels of its longer side


def build(
    net: Interactive | AtService, project: Project, access: Access, *, plan: Plan | None = None, order: str = "name"
) -> Guard:
    """The ASGI application: a page for the photos of `project`, segmented by `net`; each request is checked.

    With a plan, the network learns from the photos that are done. `order` is that of the photos offered, see `ORDERS`.
    The network of a service has neither.
    """
    return application(App(net, project, plan, order), access)


def application(app: App, access: Access) -> Guard:
    """The ASGI application of these routes."""
    routes = [
        Route("/", app.page),
        Route("/static/{name}", app.static),
        Route("/api/project", app.project_json),
        Route("/api/photos", app.upload, methods=["POST"]),
        Route("/api/photos/{number}/image", app.image),
        Route("/api/photos/{number}/thumb", app.thumb),
        Route("/api/photos/{number}/state", app.state),
        Route("/api/photos/{number}/initial", app.initial),
        Route("/api/photos/{number}/do", app.do, methods=["POST"]),
        Route("/api/photos/{number}/cancel", app.cancel, methods=["POST"]),
        Route("/api/photos/{number}/status", app.status, methods=["POST"]),
        Route("/api/next", app.next),
        Route("/api/lessons", app.lessons_json),
        Route("/api/service", app.service),
        Route("/api/export", app.export),
        *app.more_routes(),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for background in (app.lessons, app.uncertain):
            if background is not None:
                background.close()
        await run_in_threadpool(app.photos.close)
        for error in app.photos.saver.write_errors.values():
            print(f"interactify: {error}", file=sys.stderr)

    return Guard(Starlette(routes=routes, exception_handlers=HANDLERS, lifespan=lifespan), access)


class App:
    """The routes, each a method."""

    def __init__(self, net: Interactive | AtService, project: Project, plan: Plan | None, order: str) -> None:
        self.lessons: Lessons | None = None
        self.uncertain: Uncertain | None = None
        self.there = net if isinstance(net, AtService) else None
        if isinstance(net, AtService):
            self.photos = OpenPhotos(net, project)
        else:
            from interactify.app.lessons import Lessons
            from interactify.app.networks import Networks
            from interactify.app.order import Uncertain

            networks = Networks(net, project.out / "taught", latest=plan is not None)
            self.photos = OpenPhotos(networks, project)
            if plan is not None:
                self.lessons = Lessons(plan, networks, project, self.photos.settle)
            if order == "uncertain":
                self.uncertain = Uncertain(networks.latest()[0], project)
        self._prepare(project)

    def _prepare(self, project: Project) -> None:
        """Read what does not change, once the place of the sessions is known."""
        self.about, self.sessions, self.project = self.photos.place.about, self.photos.place.sessions, project
        self._thumbs: dict[int, tuple[int | None, bytes]] = {}
        self._thumb_limiter = CapacityLimiter(1)  # a folder has many, and clicks must not wait for them
        self._static = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}

    def more_routes(self) -> list[Route]:
        """Those that only some kinds of projects have."""
        return []

    async def page(self, request: Request) -> Response:
        return Response(self._static["index.html"], media_type=TYPES[".html"])

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404)
        return Response(self._static[name], media_type=TYPES[Path(name).suffix])

    async def project_json(self, request: Request) -> Response:
        return JSONResponse(self._project())

    def _project(self) -> dict[str, Any]:
        colours = voc_palette()
        classes = [
            {"name": name, "colour": "#" + bytes(colours[k % 256]).hex(), "background": name.lower() in BACKGROUNDS}
            for k, name in enumerate(self.about.classes)
        ]
        return {
            "photos": [_photo_json(photo) for photo in self.project.photos],
            "classes": classes,
            "network": self.about.title,
            "reads_clicks": self.about.reads_clicks,
            "out": self.project.out.name,
            "order": "name" if self.uncertain is None else "uncertain",
            "teaches": self.lessons is not None,
            "exports": [
                {"name": name, "label": kind.label, "current_only": kind.current_only}
                for name, kind in KINDS.items()
                if self.there is None or not kind.here_only
            ],
            "service": None if self.there is None else ", ".join(self.there.addresses),
            "write_errors": list(self.photos.saver.write_errors.values()),
        }

    @property
    def _opens(self) -> tuple[int, ValueRange | None]:
        """How the network reads photos: its channels, and the values that are black and white."""
        return self.about.channels, self.about.value_range

    async def upload(self, request: Request) -> Response:
        name = request.query_params.get("name", "photo")[:200]
        content = await read_body(request)
        photo = await run_in_threadpool(self.project.upload, name, content, *self._opens)
        return JSONResponse(_photo_json(photo), 201)

    async def image(self, request: Request) -> Response:
        photo = self._photo(request)
        return Response(await run_in_threadpool(as_jpeg, photo.path, *self._opens), media_type="image/jpeg")

    async def thumb(self, request: Request) -> Response:
        photo = self._photo(request)
        cached, modified = self._thumbs.get(photo.number), _modified_at(photo)
        if cached is None or cached[0] != modified:
            jpeg = await to_thread.run_sync(partial(self._thumbnail, photo), limiter=self._thumb_limiter)
            cached = self._thumbs[photo.number] = modified, jpeg
        return Response(cached[1], media_type="image/jpeg")

    def _thumbnail(self, photo: Photo) -> bytes:
        return thumbnail(photo.path, THUMBNAIL, *self._opens)

    async def state(self, request: Request) -> Response:
        return await self._stream(await self._open(request), None, Shown(_wants_classes(request)))

    async def initial(self, request: Request) -> Response:
        """The network's own mask, before any interaction."""
        session = self.sessions.to_read(await result_of((await self._open(request)).opening))

        def initial_frame() -> bytes:
            part = mask_part("", self.sessions.initial_mask(session), None)
            return frame({"kind": "initial"}, [part] if part else [])

        return Response(await run_in_threadpool(initial_frame), media_type=FRAMES)

    async def do(self, request: Request) -> Response:
        opened = await self._open(request)
        action = read_action(await read_json(request))
        session = cast("AnySession", await result_of(opened.opening))  # those on volumes are `VolumeApp`'s
        check(action, session)
        viewport = read_viewport(request.query_params.get("viewport"), session.size)
        return await self._stream(opened, action, Shown(_wants_classes(request), viewport))

    async def cancel(self, request: Request) -> Response:
        await run_in_threadpool((await self._open(request)).cancel)
        return Response(status_code=204)

    async def status(self, request: Request) -> Response:
        photo = self._photo(request)
        content = await read_json(request)
        if not isinstance(content, dict) or list(content) != ["status"] or content["status"] not in STATUSES:
            raise HTTPException(422, 'Expected {"status": "open", "done" or "skipped"}.')

        def mark() -> Photo:
            marked = self.project.mark(photo.number, status=content["status"])
            self.photos.write(marked)
            if self.lessons is not None:
                self.lessons.consider()
            return marked

        return JSONResponse(_photo_json(await run_in_threadpool(mark)))

    async def next(self, request: Request) -> Response:
        """The photo that is offered after another one, in the order of uncertainty."""
        photo = self._numbered(request.query_params.get("after", ""))
        return JSONResponse({"number": None if self.uncertain is None else self.uncertain.after(photo.number)})

    async def lessons_json(self, request: Request) -> Response:
        """Whether the network learns now, how many lessons have ended, and what came out of the last one."""
        if self.lessons is None:
            return JSONResponse({"learning": False, "count": 0, "note": ""})
        lessons = self.lessons
        return JSONResponse({"learning": lessons.learning, "count": lessons.count, "note": lessons.note})

    async def service(self, request: Request) -> Response:
        """Why the service whose network is used does not answer just now; "" where it does, or there is none."""
        trouble = "" if self.there is None else await run_in_threadpool(self.there.trouble)
        return JSONResponse({"trouble": trouble})

    async def export(self, request: Request) -> Response:
        kinds = read_kinds(request.query_params.get("kinds", ""))
        number = request.query_params.get("photo")
        photo = None if number is None else self._numbered(number)
        session: AnySession | None = None
        if photo is not None:
            session = self.sessions.to_read(await result_of((await self._open_photo(photo)).opening))

        def archive() -> bytes:
            saver = self.photos.saver
            self.photos.wait_for_recovery()
            saver.flush(None if photo is None else photo.number)
            photos = self.project.photos if photo is None else (photo,)
            errors = [saver.write_errors.get(each.number) for each in photos if saver.has_unsaved(each.number)]
            for error in filter(None, errors):  # the files on disk are older than the session
                raise OptionError(error)
            with saver.paused():
                return archive_of(kinds, photos, self.project.out, saver.annotations, session)

        name = "interactify" if photo is None else photo.key
        in_ascii = name.encode("ascii", "replace").decode().replace("?", "-")
        file_name = f"filename=\"{in_ascii}.zip\"; filename*=UTF-8''{quote(name)}.zip"
        headers = {"Content-Disposition": f"attachment; {file_name}"}
        return Response(await run_in_threadpool(archive), media_type="application/zip", headers=headers)

    async def _stream(self, opened: OpenPhoto, action: Action | None, shown: Shown) -> Response:
        """The frames of an action as they come; an error response where it fails before the first one.

        Where a service is away the response ends at once with a frame of the kind "kept", since browsers have few
        connections to one server. The page asks for the state when the service is back.
        """
        loop, results = asyncio.get_running_loop(), asyncio.Queue[bytes | Exception | None]()

        def emit(each: bytes | Exception | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(results.put_nowait, each)

        opened.submit(action, emit, shown)
        first = await self._first(results)
        if isinstance(first, Exception):
            raise user_error(first)

        async def frames() -> AsyncIterator[bytes]:
            each: bytes | Exception | None = first
            while each is not None:
                yield _error_frame(each) if isinstance(each, Exception) else each
                each = await results.get()

        return StreamingResponse(frames(), media_type=FRAMES)

    async def _first(self, results: asyncio.Queue[bytes | Exception | None]) -> bytes | Exception | None:
        while self.there is not None:
            with suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(results.get(), KEPT_AFTER)
            if self.there.waits:
                results.put_nowait(None)
                return frame({"kind": "kept"}, [])
        return await results.get()

    async def _open(self, request: Request) -> OpenPhoto:
        return await self._open_photo(self._photo(request))

    async def _open_photo(self, photo: Photo) -> OpenPhoto:
        opened = self.photos.get(photo)
        return await run_in_threadpool(self.photos.open, photo) if opened is None else opened

    def _photo(self, request: Request) -> Photo:
        photo = self._numbered(request.path_params["number"])
        if request.query_params.get("key", photo.key) != photo.key:
            raise HTTPException(409, "The photos have changed since this page was opened. Load it again.")
        return photo

    def _numbered(self, text: str) -> Photo:
        photo = self.project.photo(int(text)) if text.isascii() and text.isdigit() and len(text) < 8 else None
        if photo is None:
            raise HTTPException(404, "There is no such photo.")
        return photo


def _photo_json(photo: Photo) -> dict[str, Any]:
    names = {"number": photo.number, "key": photo.key, "name": photo.name}
    return {**names, "status": photo.status, "interactions": photo.interactions}


def _modified_at(photo: Photo) -> int | None:
    try:
        return photo.path.stat().st_mtime_ns
    except OSError:  # the thumbnail then fails with the reason
        return None


def _wants_classes(request: Request) -> bool:
    return request.query_params.get("classes") == "1"


def _error_frame(cause: Exception) -> bytes:
    return frame({"kind": "error", "error": str(user_error(cause))}, [])
