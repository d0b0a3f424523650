"""The function that CVAT calls through nuclio: a photo with points or a box in, a mask out.

CVAT sends JSON with "image" (a picture file in base64), "pos_points" and "neg_points" ([[x, y], …] in pixels from the
photo's upper left corner), and "obj_bbox", two corners or nothing. It reads "mask", H rows of W numbers, 0 outside the
object.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.errors import InteractifyError, InteractionError, OptionError, PhotoError, text_of
from interactify.interactions.gestures import Box
from interactify.interactive import wrap
from interactify.models.build import build_model, quickest_device
from interactify.predictor.prompts import Prompt
from interactify.tools.prompted import AtService
from interactify.tools.served import Served, box_in, clicks_in, image_of, status_of


class Function:
    """What main.py in the folder of `interactify cvat-function` creates: nuclio calls its two methods.

    `settings` is the path of network.json beside it: {"model": "zoo", "options": {…}}, with the options of
    `interactify.wrap`.
    """

    def __init__(self, settings: str | Path) -> None:
        self.settings = Path(settings)
        self.served: Served | None = None

    def init_context(self, context: Any) -> None:
        """Build the network. nuclio calls this once for each worker, before the first request."""
        context.logger.info("interactify: building the network")
        self.served = served_from(self.settings)
        context.logger.info("interactify: ready")

    def handler(self, context: Any, event: Any) -> Any:
        """Respond to a request: 200 with a mask, 400 for an invalid request, 500 where the network fails."""
        if self.served is None:
            self.init_context(context)
        assert self.served is not None
        try:
            body, status = answered(self.served, event.body), 200
        except InteractifyError as error:
            body, status = json.dumps({"error": " ".join(str(error).split())}), status_of(error)
            context.logger.warn(f"interactify: {status}: {error}")
        return context.Response(body=body, headers={}, content_type="application/json", status_code=status)


def served_from(settings: Path) -> Served:
    """The network that network.json describes, on the GPU where there is one.

    With {"server": "http://…", "network": its name or null} it is that of a service, whose key is INTERACTIFY_KEY of
    the environment.

    Raises:
        OptionError: the file can't be read.
        ModelError, CheckpointError: as `build_model`.
        ServiceError: the service does not answer, or its key is another one.
    """
    try:
        stored = json.loads(settings.read_text(encoding="utf-8"))
        if "server" in stored:
            return _at_service(stored["server"], stored.get("network"))
        model, options = stored["model"], stored.get("options", {})
    except InteractifyError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise OptionError(
            f'Expected {{"model": "…", "options": {{…}}}} in {settings}, got a file that can\'t be read ({cause}). Try '
            "`interactify cvat-function`, which writes it."
        ) from cause
    model = _from_folder(settings.parent, model)
    arguments: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
    return Served(wrap(build_model(model), **arguments).to(quickest_device()))


def _at_service(address: str, network: str | None) -> Served:
    try:
        from interactify.client import connect
    except ModuleNotFoundError as cause:
        raise OptionError("A service needs httpx, which is not installed. Try --requirement httpx.") from cause
    return Served(AtService(connect(address, patience=30.0), network))


def answered(served: Served, body: Any) -> str:
    """The JSON of the response to a request's body, which is the dict that nuclio makes of JSON, or the JSON itself.

    Raises:
        InteractionError: points or a box that can't be read, or are outside the photo.
        PhotoError: no picture.
    """
    request = _request(body)
    data = request.get("image")
    if not isinstance(data, str):
        raise PhotoError(f'Expected "image" as a picture file in base64, got {text_of(data)}.')
    try:
        image, name = image_of(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as cause:
        if isinstance(cause, PhotoError):
            raise
        raise PhotoError(f'Expected "image" as a picture file in base64: {cause}.') from cause
    size = image.height, image.width
    clicks = (
        *clicks_in(request.get("pos_points"), size, True),
        *clicks_in(request.get("neg_points"), size, False),
    )
    prompt = Prompt(clicks, _box(request.get("obj_bbox"), size))
    return f'{{"mask": {mask_text(served.segment(image, name, prompt).mask)}}}'


def mask_text(mask: NDArray[np.bool_]) -> str:
    """A mask as JSON, rows of 0 and 1: the same as `json.dumps` without spaces, a hundred times as fast.

    >>> mask_text(np.array([[True, False], [False, False]]))
    '[[1,0],[0,0]]'
    """
    text = np.full((mask.shape[0], 2 * mask.shape[1]), ord(","), np.uint8)
    text[:, ::2] = ord("0") + mask
    return f"[{','.join('[' + row.tobytes()[:-1].decode('ascii') + ']' for row in text)}]"


def _from_folder(folder: Path, model: str) -> str:
    """A model's text with its relative paths resolved from a folder."""
    name, at, checkpoint = model.partition("@")
    if at and checkpoint:
        return f"{name}@{folder / checkpoint}"
    family, _, rest = model.partition("/")
    local = family == "transformers" and rest and (folder / rest).is_dir()
    return f"transformers/{folder / rest}" if local else model


def _request(body: Any) -> Mapping[str, Any]:
    if isinstance(body, (bytes, bytearray, str)):
        try:
            body = json.loads(body)
        except ValueError as cause:
            raise InteractionError(f"Expected a request in JSON, got other text: {cause}.") from cause
    if not isinstance(body, Mapping):
        raise InteractionError(f'Expected a request as {{"image": …, "pos_points": …, …}}, got {text_of(body)}.')
    return body


def _box(corners: Any, size: tuple[int, int]) -> Box | None:
    """Read None, [], [[x, y], [x, y]] or [x, y, x, y]: versions of CVAT differ.

    CVAT sends two boxes where the user has drawn a second one. They are of one object, so the box around both is read.
    """
    if corners is None or corners == []:
        return None
    flat = corners
    if isinstance(corners, list) and all(isinstance(corner, list) for corner in corners):
        flat = [side for corner in corners for side in corner]
    if not isinstance(flat, list) or len(flat) not in (4, 8):
        raise InteractionError(f'Expected "obj_bbox" as [[x, y], [x, y]], got {text_of(corners)}.')
    boxes = [box_in(flat[at : at + 4], size) for at in range(0, len(flat), 4)]
    return Box(
        min(box.left for box in boxes), min(box.top for box in boxes),
        max(box.right for box in boxes), max(box.bottom for box in boxes),
    )  # fmt: skip
