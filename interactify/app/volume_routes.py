"""The HTTP routes of a project of volumes, where they differ from those of photos.

A request names the slice that it is about, or that the page shows: `cut=axis,index`.
"""

from __future__ import annotations

import io
from functools import partial
from typing import Any, Final, NoReturn

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from interactify.app.open_photo import OpenPhoto
from interactify.app.open_photos import OpenPhotos
from interactify.app.security import Access, Guard
from interactify.app.server import FRAMES, THUMBNAIL, App, application
from interactify.app.store.project import Photo, Project
from interactify.app.viewport import Shown
from interactify.app.volume_network import VolumeNetwork
from interactify.app.volume_updates import mask_frame
from interactify.app.volumes.in_slices import VolumeInSlices
from interactify.app.volumes.in_space import VolumeInSpace
from interactify.app.volumes.open_volume import OpenVolume
from interactify.app.volumes.planes import Cut, read_cut
from interactify.app.volumes.shown_volume import read_window
from interactify.interactive import Interactive
from interactify.web.failures import result_of
from interactify.web.limits import read_json

MAX_OPEN: Final = 2  # sessions kept in memory, each with the network's map of its volume


def build(net: Interactive, project: Project, access: Access) -> Guard:
    """The ASGI application: a page for the volumes of `project`, segmented by `net`; each request is checked."""
    return application(VolumeApp(net, project), access)


class VolumeApp(App):
    """The routes, each a method."""

    def __init__(self, net: Interactive, project: Project) -> None:
        self.lessons = self.uncertain = self.there = None
        self.network = VolumeNetwork(net)
        self.photos = OpenPhotos(self.network, project, MAX_OPEN)
        self._prepare(project)

    def more_routes(self) -> list[Route]:
        return [
            Route("/api/photos/{number}/volume", self.volume),
            Route("/api/photos/{number}/slice", self.slice),
            Route("/api/photos/{number}/mask", self.mask),
        ]

    def _project(self) -> dict[str, Any]:
        kind = VolumeInSlices if self.network.slices else VolumeInSpace
        volumes = {"slices": self.network.slices, "kinds": kind.kinds, "uncertainty": kind.knows_probability}
        return {**super()._project(), "classes": [], "exports": [], "volumes": volumes}

    async def volume(self, request: Request) -> Response:
        """How a volume is cut, and its window; before the network has seen it."""
        shown = await run_in_threadpool(self.network.shown, self._photo(request))
        return JSONResponse({**shown.to_json(), "planes": [plane.to_json() for plane in self._planes(shown.planes)]})

    async def slice(self, request: Request) -> Response:
        """The picture of a slice, in a window of values."""
        photo, window = self._photo(request), read_window(request.query_params.get("window"))

        def picture() -> bytes:
            shown = self.network.shown(photo)
            return shown.png(read_cut(request.query_params.get("cut"), self._planes(shown.planes)), window)

        return Response(await run_in_threadpool(picture), media_type="image/png")

    async def mask(self, request: Request) -> Response:
        """The mask of a slice, and with `uncertainty=1` how uncertain it is, where that is known."""
        return await self._mask_frame(request, uncertainty=request.query_params.get("uncertainty") == "1")

    async def initial(self, request: Request) -> Response:
        """The network's own mask of a slice, before any interaction."""
        return await self._mask_frame(request, initial=True)

    async def state(self, request: Request) -> Response:
        opened = await self._open(request)
        cut = _cut(request, await self._opened(opened))
        return await self._stream(opened, None, Shown(cut=cut))

    async def do(self, request: Request) -> Response:
        opened = await self._open(request)
        content = await read_json(request)
        session = await self._opened(opened)
        cut = _cut(request, session)
        return await self._stream(opened, session.read(content, cut), Shown(cut=cut))

    async def image(self, request: Request) -> Response:
        _only_for_photos()

    async def upload(self, request: Request) -> Response:
        _only_for_photos()

    async def export(self, request: Request) -> Response:
        _only_for_photos()

    def _thumbnail(self, photo: Photo) -> bytes:
        content = io.BytesIO()
        self.network.thumbnail(photo, THUMBNAIL).save(content, "JPEG", quality=80)
        return content.getvalue()

    async def _mask_frame(self, request: Request, *, initial: bool = False, uncertainty: bool = False) -> Response:
        session = await self._opened(await self._open(request))
        made = partial(mask_frame, session, _cut(request, session), initial=initial, uncertainty=uncertainty)
        return Response(await run_in_threadpool(made), media_type=FRAMES)

    async def _opened(self, opened: OpenPhoto) -> OpenVolume[Any]:
        """The session of a volume, when it is open; raises what opening it raised."""
        session = await result_of(opened.opening)
        assert isinstance(session, OpenVolume)
        return session

    def _planes(self, planes: tuple[Any, ...]) -> tuple[Any, ...]:
        """Those in which there are masks: a network of images sees slices along one axis."""
        return planes[:1] if self.network.slices else planes


def _cut(request: Request, session: OpenVolume[Any]) -> Cut:
    return read_cut(request.query_params.get("cut"), session.planes)


def _only_for_photos() -> NoReturn:
    raise HTTPException(
        404, "Only a page of photos has this. Volumes are in the folder that the server was started with."
    )
