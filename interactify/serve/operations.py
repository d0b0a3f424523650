"""What each route takes and gives: from this table the routes are made, and their description, /openapi.json.

OpenAPI 3.1, https://spec.openapis.org/oas/v3.1.0: its schemas are JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from interactify._version import __version__
from interactify.export.formats import FORMATS
from interactify.serve.limits import Limits
from interactify.web.actions import ACTIONS, MAX_INTERACTIONS

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """A route.

    Attributes:
        method, path: as HTTP has them.
        name: of the method in server.py.
        summary: what it does.
        gives: of each status the description, and the content type with its schema; "" for no content.
        takes: the names of its query parameters.
        body: content types with their schemas.
        errors: the statuses it may fail with.
    """

    method: str
    path: str
    name: str
    summary: str
    gives: Mapping[int, tuple[str, Mapping[str, Schema]]]
    takes: tuple[str, ...] = ()
    body: Mapping[str, Schema] | None = None
    errors: tuple[int, ...] = ()

    @property
    def of_session(self) -> bool:
        """Whether it is about one session, whose token it needs."""
        return "{id}" in self.path

    @property
    def is_open(self) -> bool:
        """Whether it needs no key."""
        return not self.path.startswith("/v1/")


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> Mapping[str, Schema]:
    return {"application/json": _ref(name)}


_TEXT: Final[Schema] = {"type": "string"}
_BYTES: Final[Schema] = {}  # of OpenAPI 3.1: any content
_SESSION_ERRORS: Final = (401, 403, 404, 409, 422, 429, 500, 503)

OPERATIONS: Final = (
    Operation("GET", "/healthz", "healthz", "Whether the process runs", {200: ("It does", _json("Status"))}),
    Operation(
        *("GET", "/readyz", "readyz", "Whether requests can be answered: the store is there, and the devices work"),
        {200: ("They can", _json("Status"))},
        errors=(503,),
    ),
    Operation(
        *("GET", "/metrics", "metrics", "Numbers for Prometheus"),
        {200: ("Prometheus' text format", {"text/plain": _TEXT})},
    ),
    Operation(
        *("GET", "/openapi.json", "openapi", "This description"),
        {200: ("OpenAPI 3.1", {"application/json": {"type": "object"}})},
    ),
    Operation(
        *("GET", "/v1/networks", "networks", "The networks that are served; the first is the default"),
        {200: ("Their names and classes", _json("Networks"))},
        errors=(401,),
    ),
    Operation(
        *(
            "POST",
            "/v1/sessions",
            "open",
            "Open a photo: its file as the body, or its path below the service's folders",
        ),
        {201: ("A session, its token, and the network's own prediction", _json("Opened"))},
        takes=("name", "network", "target", "mask"),
        body={"application/octet-stream": _BYTES, "application/json": _ref("Path")},
        errors=(400, 401, 408, 413, 415, 422, 500, 503),
    ),
    Operation(
        *("GET", "/v1/sessions", "sessions", "The sessions that were opened with this key"),
        {200: ("Without their tokens", _json("Sessions"))},
        errors=(401, 503),
    ),
    Operation(
        *("GET", "/v1/sessions/{id}", "state", "A session's state, and an object's interactions and whole mask"),
        {200: ("The state", _json("State"))},
        takes=("mask", "object"),
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("DELETE", "/v1/sessions/{id}", "delete", "Remove a session, its log, and its photo"),
        {204: ("It is removed", {})},
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("POST", "/v1/sessions/{id}/actions", "act", "Make an action, refine, and give what changed"),
        {200: ("The state after it; it is in the store", _json("Answer"))},
        takes=("mask", "superseded", "Idempotency-Key"),
        body=_json("Action"),
        errors=(400, 408, 413, *_SESSION_ERRORS),
    ),
    Operation(
        *("GET", "/v1/sessions/{id}/actions", "actions", "All actions of a session, as they are in the store"),
        {200: ("In their order", _json("Log"))},
        takes=("after",),
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("POST", "/v1/sessions/{id}/cancel", "cancel", "Let the running refinement end early, as for a newer action"),
        {204: ("It will, if it still runs", {})},
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("POST", "/v1/sessions/{id}/prompt", "prompt", "The object of clicks and a box; the session stays as it is"),
        {200: ("Its mask, and the IoU that the network expects of it", _json("Scored"))},
        body=_json("Prompt"),
        errors=(400, 408, 413, *_SESSION_ERRORS),
    ),
    Operation(
        *("POST", "/v1/sessions/{id}/heartbeat", "heartbeat", "Keep the session's place while nothing is done"),
        {200: ("For how long; 0 where the place is lost, which the next action takes again", _json("Lease"))},
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("POST", "/v1/sessions/{id}/leave", "leave", "Give up the session's place; its next request takes one again"),
        {204: ("It has none", {})},
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("GET", "/v1/sessions/{id}/mask", "mask", "An object's whole mask"),
        {200: ("As run lengths, or as a PNG with mask=png", {"image/png": _BYTES, **_json("WholeMask")})},
        takes=("mask", "object"),
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("GET", "/v1/sessions/{id}/initial", "initial", "The network's own mask, before any interaction"),
        {200: ("As run lengths, or as a PNG with mask=png", {"image/png": _BYTES, **_json("WholeMask")})},
        takes=("mask",),
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("GET", "/v1/sessions/{id}/export/{format}", "export", "An object's result as a file for other tools"),
        {200: ("The file", {"application/octet-stream": _BYTES})},
        takes=("object", "tolerance"),
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("GET", "/v1/sessions/{id}/labels", "labels", "All objects, or classes, in one map"),
        {200: ("An .npz file with the array labels (height, width)", {"application/octet-stream": _BYTES})},
        takes=("of",),
        errors=_SESSION_ERRORS,
    ),
    Operation(
        *("GET", "/v1/sessions/{id}/log", "log", "All interactions as lines of JSON, for `interactify replay`"),
        {200: ("The log", {"text/plain": _TEXT})},
        errors=_SESSION_ERRORS,
    ),
)

_NUMBER: Final[Schema] = {"type": "number"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_FLAG: Final[Schema] = {"type": "boolean"}
_RLE: Final = {
    "description": "COCO's compressed run lengths, down the columns; the first number counts pixels outside",
    **{"type": "object", "required": ["size", "counts"], "additionalProperties": False},
    "properties": {"size": {"type": "array", "items": _COUNT, "minItems": 2, "maxItems": 2}, "counts": _TEXT},
}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> dict[str, Any]:
    """An object with these properties and no others."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def _or_null(kind: str) -> Schema:
    return {"type": [kind, "null"]}


_OF_SESSION: Final[Mapping[str, Schema]] = {
    **{"session": _TEXT, "name": _TEXT, "network": _TEXT, "width": _COUNT, "height": _COUNT, "created": _NUMBER},
    "file": {"description": "the SHA-256 of the photo's file", **_TEXT},
    "identity": {"description": "a digest of all that the masks depend on: photo, weights, options", **_TEXT},
}
_OF_STATE: Final[Mapping[str, Schema]] = {
    "n": {"description": "the number of the last action", **_COUNT},
    "objects": {"type": "array", "items": _ref("Object")},
    "active": _TEXT,
    "interactions": {"type": "array", "items": _ref("Interaction")},
    "can_undo": _FLAG,
    "can_redo": _FLAG,
    "result": _ref("Result"),
    "mask": {"anyOf": [_ref("MaskChange"), {"type": "null"}]},
}
_SHAPE: Final[Mapping[str, Schema]] = {
    "kind": {"enum": ["click", "scribble", "box", "lasso", "paint", "mask", "labels"]},
}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Error": _object({"error": _TEXT}, {"kind": {"description": "the class in interactify.errors", **_TEXT}}),
    "Status": _object({"status": {"const": "ok"}}),
    "Networks": _object({"networks": {"type": "array", "items": _ref("Network")}}),
    "Network": _object(
        {
            **{"name": _TEXT, "title": _TEXT, "count": _COUNT, "reads_clicks": _FLAG, "channels": _COUNT},
            "classes": {"description": "empty for a network of one class", "type": "array", "items": _TEXT},
            "class_names": {"description": "those that are known", "type": "array", "items": _TEXT},
            "value_range": {"description": "black and white", "type": ["array", "null"], "items": _NUMBER},
            "version": {"description": "of weights and options", **_TEXT},
        }
    ),
    "Path": _object({"path": _TEXT}),
    "Sessions": _object({"sessions": {"type": "array", "items": _object(_OF_SESSION)}}),
    "Opened": _object({**_OF_SESSION, "token": _TEXT, "lease_seconds": _NUMBER, "idle_seconds": _NUMBER, **_OF_STATE}),
    "State": _object({**_OF_SESSION, **_OF_STATE}),
    "Answer": _object(_OF_STATE),
    "Lease": _object({"lease_seconds": _NUMBER}),
    "Object": _object({"name": _TEXT, "interactions": _COUNT, "class": _or_null("string"), "area": _or_null("number")}),
    "Result": _object(
        {
            **{"status": _TEXT, "ms": _NUMBER, "evaluations": _COUNT, "satisfied": _FLAG},
            **{"choice": {"enum": ["narrow", "usual", "wide"]}, "area": _NUMBER},
        }
    ),
    "Interaction": {
        "description": "pixels, x to the right and y down, 0 at the centre of the first; in an answer also what it "
        "took (ms), whether it is satisfied (state), and why not (reason)",
        "type": "object",
        "required": ["kind"],
        "properties": _SHAPE,
    },
    "Action": {
        "type": "object",
        "required": ["do"],
        "properties": {
            "do": {"enum": list(ACTIONS)},
            "interactions": {
                **{"type": "array", "items": _ref("Interaction"), "minItems": 1, "maxItems": MAX_INTERACTIONS}
            },
        },
        "oneOf": [
            _object({"do": {"const": name}, **{key: {} for key in keys}}) for name, (keys, _, _) in ACTIONS.items()
        ],
    },
    "Log": _object(
        {
            "actions": {
                "type": "array",
                "items": _object(
                    {"n": _COUNT, "do": _ref("Action")},
                    {"superseded": {"description": "whether a newer action ended its refinement early", **_FLAG}},
                ),
            }
        }
    ),
    "MaskChange": _object(
        {
            "base": {
                "description": "the action after which the active object's mask differs in `box` only; null: `box` is "
                "the whole photo",
                **_or_null("integer"),
            },
            "box": {
                "description": "left, top, width, height in pixels; null where nothing differs",
                **{"type": ["array", "null"], "items": _COUNT, "minItems": 4, "maxItems": 4},
            },
        },
        {"rle": _RLE, "png": {"contentEncoding": "base64", "contentMediaType": "image/png", **_TEXT}},
    ),
    "Prompt": _object(
        {
            "interactions": {"type": "array", "items": _ref("Interaction")},
            "target": {"type": ["integer", "string", "null"]},
        }
    ),
    "Scored": _object({"score": _NUMBER, "rle": _RLE}),
    "WholeMask": _object({"n": _COUNT, "rle": _RLE}),
}

_QUERY: Final[Mapping[str, tuple[str, str, Schema]]] = {
    "name": ("query", "the photo's name; by default its path's", _TEXT),
    "network": ("query", "the name of a network; by default the first one", _TEXT),
    "target": ("query", "the class of a positive click, index or name", _TEXT),
    "mask": ("query", "how the mask is sent", {"enum": ["rle", "png", "none"], "default": "rle"}),
    "after": ("query", "the number of an action; only later ones", {**_COUNT, "default": 0}),
    "superseded": (
        *("query", "1 for an action that is made again, and ended early for a newer one when it was made first"),
        {"enum": [0, 1], "default": 0},
    ),
    "object": ("query", "an object's name; by default the active one", _TEXT),
    "of": ("query", "what the map is of", {"enum": ["objects", "classes", "accepted"], "default": "objects"}),
    "tolerance": ("query", "of outlines, in pixels", {"type": "number", "minimum": 0, "default": 0}),
    "Idempotency-Key": (
        *("header", "names the request: sent again after a lost answer, it is not made twice"),
        {"type": "string", "minLength": 8, "maxLength": 128},
    ),
}
_ERRORS: Final = {
    400: "The request is no valid HTTP or JSON",
    401: "The key is missing or unknown",
    403: "The session's token is missing or wrong, or the request is from a page in a browser",
    404: "There is no such session of this key",
    408: "The request's body did not come in time",
    409: "The network has other weights or options than when the session was opened",
    413: "The request is too long",
    415: "The file is too large, or no picture that is opened here",
    422: "An action, an option or a place that does not fit; the session is as it was",
    429: "Too many actions of this session wait",
    500: "The network failed; the session is as it was",
    503: "All places are taken, the store is away, or the service is shutting down; try again, or another replica",
}


def openapi(limits: Limits) -> dict[str, Any]:
    """The description of a service with these limits."""
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _described(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "interactify",
            "version": __version__,
            "description": "Sessions in which a segmentation network follows clicks. A photo may have "
            f"{limits.file_bytes} bytes and {limits.pixels} pixels; {limits.sessions} sessions have a place at one "
            f"time, which one loses after {limits.liveness:g} seconds without a request, or {limits.idle:g} without an "
            f"action, and takes again with its next action; it is removed {limits.keep:g} seconds after the last one.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "header", "name": "Session-Token"},
            },
        },
        "security": [],
    }


def _described(each: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, (text, content) in each.gives.items():
        shown = {"content": {kind: {"schema": schema} for kind, schema in content.items()}} if content else {}
        responses[str(status)] = {"description": text, **shown}
    for status in each.errors:
        error = {"application/json": {"schema": _ref("Error")}}
        responses[str(status)] = {"description": _ERRORS[status], "content": error}
    found: dict[str, Any] = {"operationId": each.name, "summary": each.summary, "responses": responses}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": place, "description": text, "schema": schema}
        for name, (place, text, schema) in _QUERY.items()
        if name in each.takes
    ]
    if each.of_session:
        parameters.insert(0, {"name": "id", "in": "path", "required": True, "schema": _TEXT})
    if "{format}" in each.path:
        parameters.insert(1, {"name": "format", "in": "path", "required": True, "schema": {"enum": list(FORMATS)}})
    if parameters:
        found["parameters"] = parameters
    if each.body:
        content = {kind: {"schema": schema} for kind, schema in each.body.items()}
        found["requestBody"] = {"required": True, "content": content}
    # Without keys the service needs none; a description can't say that, so it asks for one.
    if not each.is_open:
        found["security"] = [{"key": [], **({"token": []} if each.of_session else {})}]
    return found
