"""The description says what the service does: every route is in it, and every answer has the shape that it says."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")
pytest.importorskip("uvicorn", reason="needs uvicorn: install interactify[serve]")
pytest.importorskip("jsonschema", reason="needs jsonschema: install interactify[test]")

import jsonschema

from interactify.serve.limits import Limits
from interactify.serve.operations import OPERATIONS, openapi
from interactify.serve.server import Api
from interactify.web.actions import ACTIONS
from tests.fixtures.service import ANA, KEYS, serving

DESCRIPTION = openapi(Limits())


def test_it_is_valid_openapi():
    validator = pytest.importorskip("openapi_spec_validator", reason="needs openapi-spec-validator")
    validator.validate(DESCRIPTION)


def test_its_references_lead_somewhere_and_its_schemas_are_schemas():
    schemas = DESCRIPTION["components"]["schemas"]
    names = set(_references(DESCRIPTION))
    assert names <= {f"#/components/schemas/{name}" for name in schemas}
    assert {f"#/components/schemas/{name}" for name in schemas} <= names
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def _references(content: Any) -> list[str]:
    if isinstance(content, dict):
        own = [content["$ref"]] if "$ref" in content else []
        return own + [each for value in content.values() for each in _references(value)]
    return [each for value in content for each in _references(value)] if isinstance(content, (list, tuple)) else []


def test_every_route_is_described_and_has_its_method():
    described = {(method.upper(), path) for path, methods in DESCRIPTION["paths"].items() for method in methods}
    assert described == {(each.method, each.path) for each in OPERATIONS} and len(described) == len(OPERATIONS)
    routes = {name for name, value in vars(Api).items() if not name.startswith("_") and callable(value)}
    assert routes == {each.name for each in OPERATIONS}


class Checked:
    """Asks a service, and checks what comes against the description; notes which responses were seen."""

    def __init__(self, client: httpx.Client) -> None:
        self.client, self.seen = client, set[tuple[str, int]]()

    def __call__(self, name: str, status: int, *, at: dict[str, str] | None = None, **given: Any) -> httpx.Response:
        (operation,) = (each for each in OPERATIONS if each.name == name)
        response = self.client.request(operation.method, operation.path.format(**(at or {})), **given)
        assert response.status_code == status, response.text
        described = DESCRIPTION["paths"][operation.path][operation.method.lower()]
        asked = {each["name"] for each in described.get("parameters", []) if each["in"] == "query"}
        assert set(given.get("params", {})) <= asked, "a parameter that is not described"
        found = described["responses"][str(status)]
        kind = response.headers.get("content-type", "").split(";")[0]
        if "content" not in found:
            assert not response.content
        elif name != "export":
            assert kind in found["content"], (kind, found)
        if kind == "application/json" and name != "export":
            check(response.json(), found["content"][kind]["schema"])
        self.seen.add((name, status))
        return response


def check(content: Any, schema: Any) -> None:
    jsonschema.validate(content, {**schema, "components": DESCRIPTION["components"]}, jsonschema.Draft202012Validator)


def test_answers_have_the_described_shapes(net, tmp_path, pictures):
    folder = pictures[0].parent
    with (
        serving(net, tmp_path / "s.db", KEYS, folders=[folder], sessions=2) as (address, _),
        httpx.Client(base_url=address, timeout=30, trust_env=False) as client,
    ):
        ask = Checked(client)
        for name in ("healthz", "readyz", "metrics", "openapi"):
            ask(name, 200)
        assert ask("openapi", 200).json() == openapi(Limits(folders=[folder], sessions=2))
        ask("networks", 401)
        client.headers["Authorization"] = f"Bearer {ANA}"
        ask("networks", 200)
        picture = pictures[0].read_bytes()
        opened = ask("open", 201, content=picture, params={"name": "a.png", "mask": "png"}).json()
        ask("open", 201, json={"path": "second.png"})
        ask("open", 503, content=picture)
        ask("open", 415, content=b"no picture")
        ask("open", 422, content=picture, params={"network": "none"})
        ask("sessions", 200)
        at = {"id": opened["session"], "format": "coco"}
        ask("state", 403, at=at)
        ask("state", 404, at={"id": "0" * 24})
        client.headers["Session-Token"] = opened["token"]
        ask("state", 200, at=at)
        ask("state", 200, at=at, params={"mask": "none", "object": "object 1"})
        click = {"kind": "click", "x": 55, "y": 30, "positive": True}
        contents: dict[str, dict[str, Any]] = {
            "add": {"interactions": [click, {"kind": "scribble", "points": [[5, 5], [9, 9]], "positive": False}]},
            "choose": {"choice": "wide"},
            "move": {"index": 0, "x": 50, "y": 31},
            "remove": {"index": 1},
            "undo": {},
            "redo": {},
            "reset": {},
            "add_object": {"name": "second", "target": None},
            "rename": {"name": "second", "to": "third"},
            "switch": {"name": "object 1"},
            "delete": {"name": "third"},
        }
        assert set(contents) == set(ACTIONS)
        for do, content in contents.items():
            action = {"do": do, **content}
            check(action, DESCRIPTION["components"]["schemas"]["Action"])
            ask("act", 200, at=at, json=action, params={"mask": "png" if do == "add" else "rle"})
        for wrong in ({"do": "undo", "x": 1}, {"do": "eval"}, {"do": "add"}, {"interactions": []}):
            with pytest.raises(jsonschema.ValidationError):
                check(wrong, DESCRIPTION["components"]["schemas"]["Action"])
            ask("act", 422, at=at, json=wrong)
        made = ask("actions", 200, at=at).json()["actions"]
        assert [each["n"] for each in made] == list(range(1, len(made) + 1)) and made[0]["do"]["do"] == "add"
        assert ask("actions", 200, at=at, params={"after": len(made) - 1}).json()["actions"] == made[-1:]
        ask("actions", 422, at=at, params={"after": "-1"})
        again = {"do": "add", "interactions": [{**click, "x": 9}]}
        ask("act", 200, at=at, json=again, params={"superseded": 1})
        ask("act", 422, at=at, json=again, params={"superseded": "yes"})
        ask("act", 400, at=at, content=b"{")
        ask("act", 413, at=at, content=bytes(2**21 + 1))
        ask("heartbeat", 200, at=at)
        ask("leave", 204, at=at)
        ask("cancel", 204, at=at)
        ask("prompt", 200, at=at, json={"interactions": [click], "target": None})
        ask("prompt", 422, at=at, json={"interactions": [{**click, "x": 100}], "target": None})
        ask("initial", 200, at=at)
        ask("mask", 200, at=at)
        ask("mask", 200, at=at, params={"mask": "png", "object": "object 1"})
        ask("mask", 422, at=at, params={"object": "nobody"})
        ask("export", 200, at=at, params={"tolerance": "1"})
        ask("labels", 200, at=at, params={"of": "objects"})
        ask("log", 200, at=at)
        ask("delete", 204, at=at)
        assert {name for name, status in ask.seen if status < 300} == {each.name for each in OPERATIONS}
        assert json.loads(json.dumps(DESCRIPTION)) == DESCRIPTION
