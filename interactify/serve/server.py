"""The HTTP routes. No route blocks: the store and decoders run in threads, refinements in the device's queue."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from interactify.errors import CheckpointError, InteractifyError, OptionError, PhotoError, SessionGoneError, StoreError
from interactify.export.formats import checked_tolerance
from interactify.refinement.result import Result
from interactify.serve.answers import MAPS, answer_json, checked_form, exported, label_map, mask_json, mask_png, npz_of
from interactify.serve.device_queue import Closing
from interactify.serve.guard import Guard
from interactify.serve.keys import Keys
from interactify.serve.live import Live
from interactify.serve.operations import OPERATIONS, openapi
from interactify.serve.prompts import read_prompt
from interactify.serve.service import Full, Opened, Service
from interactify.serve.store.log import StoreLog
from interactify.serve.store.records import Record
from interactify.session.session import Session
from interactify.web.actions import read_action
from interactify.web.failures import HANDLERS, result_of
from interactify.web.limits import json_of, read_body, read_json, refused
from interactify.web.pictures import MAX_FILE_BYTES
from interactify.web.tokens import same

TOKEN: Final = "session-token"
NUMBER: Final = "Interactify-Number"  # of the last action, in answers that are no JSON
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
SHUTDOWN_SECONDS: Final = 20.0  # that waiting actions may take
RETRY: Final = {"Retry-After": "2"}


def build(service: Service, keys: Keys | None = None) -> Guard:
    """The ASGI application of a service; without keys it is for one machine. It closes the service when it ends."""
    keys = keys or Keys()
    api = Api(service)
    routes = [Route(each.path, getattr(api, each.name), methods=[each.method]) for each in OPERATIONS]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.close, SHUTDOWN_SECONDS)

    handlers: dict[Any, Any] = {
        **HANDLERS,
        **dict.fromkeys((Full, Closing, StoreError), _unavailable),
        SessionGoneError: _gone,
        CheckpointError: _conflict,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    return Guard(app, keys, service.metrics, min(service.limits.file_bytes, MAX_FILE_BYTES))


class Api:
    """The routes, each a method; `operations.py` says what each takes and gives."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._uploads = asyncio.Semaphore(service.limits.uploads)
        self._description = openapi(service.limits)

    # ---- about the service -------------------------------------------------------------------------------------------

    async def healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        ready = await run_in_threadpool(lambda: self.service.ready)
        return JSONResponse({"status": "ok"}) if ready else refused(503, "The service is shutting down.", RETRY)

    async def metrics(self, request: Request) -> Response:
        return Response(await run_in_threadpool(self.service.metrics.text), headers={"Content-Type": METRICS})

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(self._description)

    async def networks(self, request: Request) -> Response:
        found = self.service.networks.items()
        return JSONResponse({"networks": [{"name": name, **served.about.to_json()} for name, served in found]})

    # ---- sessions ----------------------------------------------------------------------------------------------------

    async def open(self, request: Request) -> Response:
        query = request.query_params
        form = checked_form(query.get("mask"))
        name, network, target = query.get("name", "photo")[:200], query.get("network"), _class(query.get("target"))
        async with self._uploads:
            content = await read_body(request)
            if request.headers.get("content-type", "").split(";")[0].strip() == "application/json":
                name, content = await run_in_threadpool(self._file, content, query.get("name"))
            future = await run_in_threadpool(
                self.service.open, request.state.owner, content, _text(name), network, target
            )
            del content
            opened: Opened = await result_of(future)
        answer = await run_in_threadpool(answer_json, opened.answer, form)
        limits = self.service.limits
        leases = {"token": opened.token, "lease_seconds": limits.liveness, "idle_seconds": limits.idle}
        return JSONResponse({**_record_json(opened.record), **leases, **answer}, 201)

    async def sessions(self, request: Request) -> Response:
        records = await run_in_threadpool(self.service.store.records, request.state.owner)
        return JSONResponse({"sessions": [_record_json(record) for record in records]})

    async def state(self, request: Request) -> Response:
        record, form = await self._record(request), checked_form(request.query_params.get("mask"))
        name = request.query_params.get("object")
        answer = await result_of(await run_in_threadpool(self.service.read, record, lambda live: live.answer_of(name)))
        return JSONResponse({**_record_json(record), **await run_in_threadpool(answer_json, answer, form)})

    async def act(self, request: Request) -> Response:
        record, form = await self._record(request), checked_form(request.query_params.get("mask"))
        key = request.headers.get("idempotency-key", uuid.uuid4().hex)
        if not re.fullmatch(r"[!-~]{8,128}", key):
            raise HTTPException(400, "Expected an Idempotency-Key of 8 to 128 letters, digits and signs.")
        action = read_action(await read_json(request), (record.height, record.width))
        act = partial(self.service.act, record, action, key, superseded=_flag(request, "superseded"))
        answer = await result_of(await run_in_threadpool(act))
        return JSONResponse(await run_in_threadpool(answer_json, answer, form))

    async def actions(self, request: Request) -> Response:
        record, after = await self._record(request), request.query_params.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 9:
            raise OptionError(f"Expected after= as the number of an action, got {after[:60]!r}.")
        log = StoreLog(self.service.store, record.id)
        found = await run_in_threadpool(log.entries_after, int(after))
        entries = [{name: value for name, value in each.items() if name != "key"} for each in found]
        return JSONResponse({"actions": entries})

    async def cancel(self, request: Request) -> Response:
        self.service.end_early(await self._record(request))
        return Response(status_code=204)

    async def prompt(self, request: Request) -> Response:
        record, content = await self._record(request), await read_json(request)
        scored = await result_of(await run_in_threadpool(self.service.prompt, record, *read_prompt(content)))
        return JSONResponse({"score": scored.score, **await run_in_threadpool(mask_json, scored.mask, "rle")})

    async def heartbeat(self, request: Request) -> Response:
        record = await self._record(request)
        return JSONResponse({"lease_seconds": await run_in_threadpool(self.service.beat, record)})

    async def leave(self, request: Request) -> Response:
        await run_in_threadpool(self.service.leave, await self._record(request))
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        await run_in_threadpool(self.service.delete, await self._record(request))
        return Response(status_code=204)

    # ---- results -----------------------------------------------------------------------------------------------------

    async def mask(self, request: Request) -> Response:
        name = request.query_params.get("object")
        return await self._mask(request, lambda session, live: session.result_of(live.object_named(name)))

    async def initial(self, request: Request) -> Response:
        return await self._mask(request, lambda session, _: session.initial_step.result)

    async def _mask(self, request: Request, read: Callable[[Session, Live], Result]) -> Response:
        record, form = await self._record(request), checked_form(request.query_params.get("mask"))
        number, mask = await result_of(
            await run_in_threadpool(
                self.service.read, record, lambda live: (live.number, read(live.session, live).mask)
            )
        )
        if form == "png":
            content = await run_in_threadpool(mask_png, mask)
            return Response(content, media_type="image/png", headers={NUMBER: str(number)})
        return JSONResponse({"n": number, **await run_in_threadpool(mask_json, mask, "rle")})

    async def export(self, request: Request) -> Response:
        record, query = await self._record(request), request.query_params
        form, name = request.path_params["format"], query.get("object")
        tolerance = _tolerance(query.get("tolerance", "0"))
        look = self.service.read
        content, file, kind = await result_of(
            await run_in_threadpool(look, record, lambda live: exported(live, form, name, tolerance))
        )
        disposition = f"attachment; filename*=UTF-8''{quote(file)}"
        return Response(content, media_type=kind, headers={"Content-Disposition": disposition})

    async def labels(self, request: Request) -> Response:
        record, of = await self._record(request), request.query_params.get("of", "objects")
        if of not in MAPS:
            raise OptionError(f"Expected a map of={' or of='.join(MAPS)}, got {of[:60]!r}.")
        look = self.service.read
        number, found = await result_of(
            await run_in_threadpool(look, record, lambda live: (live.number, label_map(live, of)))
        )
        content = await run_in_threadpool(npz_of, found)
        return Response(content, media_type="application/octet-stream", headers={NUMBER: str(number)})

    async def log(self, request: Request) -> Response:
        record = await self._record(request)
        text = await result_of(await run_in_threadpool(self.service.read, record, lambda live: live.session.log()))
        return PlainTextResponse(text)

    async def _record(self, request: Request) -> Record:
        """The session of a request: of its own key, and with its own token."""
        id = request.path_params["id"]
        record = await run_in_threadpool(self.service.store.record, id[:64])
        if record is None or record.owner != request.state.owner:
            raise SessionGoneError("Expected a session of this key, got another name. Open a photo.")
        if not same(request.headers.get(TOKEN, ""), record.token):
            raise HTTPException(403, "Expected the session's token as the header Session-Token.")
        return record

    def _file(self, content: bytes, name: str | None) -> tuple[str, bytes]:
        """The name and the bytes of a photo that is named by its path."""
        given = json_of(content)
        if not isinstance(given, Mapping) or list(given) != ["path"]:
            raise OptionError('Expected {"path": a photo below the service\'s folders}. Try an upload.')
        path = self.service.limits.photo_at(given["path"])
        try:
            if path.stat().st_size > self.service.limits.file_bytes:
                raise PhotoError(
                    f"Expected a file of at most {self.service.limits.file_bytes} bytes, got a larger one."
                )
            return name or path.name, path.read_bytes()
        except OSError as cause:
            raise PhotoError(f"{path.name} can't be opened ({cause.strerror}).") from cause


def _record_json(record: Record) -> dict[str, Any]:
    size = {"width": record.width, "height": record.height}
    names = {"session": record.id, "name": record.name, "network": record.network}
    return {**names, **size, "created": record.created, "file": record.photo, "identity": record.identity}


def _class(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 8 else text


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "0")
    if text not in ("0", "1"):
        raise OptionError(f"Expected {name}=0 or {name}=1, got {text[:60]!r}.")
    return text == "1"


def _tolerance(text: str) -> float:
    try:
        return checked_tolerance(float(text))
    except ValueError as cause:  # OptionError is one, too
        raise OptionError(f"Expected a tolerance of 0 pixels or more, got {text[:60]!r}. Try 1.") from cause


def _text(name: str) -> str:
    """A name as valid text without control characters."""
    return re.sub(r"[\x00-\x1f\x7f]", "", name.encode("utf-8", "replace").decode()) or "photo"


async def _unavailable(request: Request, cause: InteractifyError) -> Response:
    return refused(503, str(cause), RETRY, type(cause).__name__)


async def _gone(request: Request, cause: InteractifyError) -> Response:
    return refused(404, str(cause), kind=type(cause).__name__)


async def _conflict(request: Request, cause: InteractifyError) -> Response:
    return refused(409, str(cause), kind=type(cause).__name__)
