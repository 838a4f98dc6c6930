"""The OpenAPI document: every route is in it, and real answers are what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from needs import needs

if TYPE_CHECKING:
    from starlette.testclient import TestClient

BASE = "/api/v1"
ASKED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("/server", "/server", {}),
    ("/stats", "/stats", {}),
    ("/where", "/where", {"text": "red", "top": "all"}),
    ("/where", "/where", {"text": "yellow"}),
    ("/where", "/where", {"crop": "1@1s:8,32,32,32", "near": "blue", "min_probability": 0}),
    ("/timeline", "/timeline", {"text": "red", "alike": "true"}),
    ("/things", "/things", {}),
    ("/things/names", "/things/names", {"named": "1"}),
    ("/sightings", "/sightings", {"tracks": "1,4"}),
    ("/photos", "/photos", {"top": 2}),
    ("/photos/{source}/{t_ns}", "/photos/2/0", {}),
    ("/haystack", "/haystack", {"anchor": "red", "target": "blue"}),
    ("/haystack", "/haystack", {"anchor": "yellow", "target": "blue"}),
    ("/names", "/names", {"prefix": "b"}),
    ("/jobs", "/jobs", {}),
    ("/sources", "/sources", {}),
    ("/sources/{source}", "/sources/2", {}),
    ("/sources/{source}/things", "/sources/1/things", {}),
    ("/sources/{source}/boxes", "/sources/1/boxes", {"tracks": "1,2"}),
    ("/sources/{source}/boxes", "/sources/2/boxes", {"tracks": "5"}),
)


def document(client: TestClient) -> dict[str, Any]:
    answer = client.get(f"{BASE}/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def check(whole: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Raise unless a value is what a schema says, with no field that is not in it."""
    jsonschema = needs("jsonschema")
    schemas = {
        name: {**one, "additionalProperties": False} if one.get("type") == "object" and "properties" in one else one
        for name, one in whole["components"]["schemas"].items()
    }
    jsonschema.Draft202012Validator({**schema, "components": {"schemas": schemas}}).validate(value)


@pytest.mark.parametrize(("route", "path", "parameters"), ASKED)
def test_an_answer_is_what_the_document_says(
    client: TestClient, route: str, path: str, parameters: dict[str, Any]
) -> None:
    whole = document(client)
    operation = whole["paths"][BASE + route]["get"]
    answer = client.get(BASE + path, params=parameters)
    if answer.status_code == 400 and "min_probability" in parameters:  # this encoder has no probabilities
        answer = client.get(BASE + path, params={k: v for k, v in parameters.items() if k != "min_probability"})
    assert answer.status_code == 200, answer.text
    check(whole, operation["responses"]["200"]["content"]["application/json"]["schema"], answer.json())
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert set(parameters) <= names


def test_an_error_is_what_the_document_says(client: TestClient) -> None:
    whole = document(client)
    for path in ("/where", "/sources/9", "/videos/2", "/nothing"):
        answer = client.get(BASE + path)
        assert answer.status_code >= 400
        check(whole, {"$ref": "#/components/schemas/Error"}, answer.json())


def test_every_route_is_in_the_document_and_asked_here(client: TestClient) -> None:
    from vidmem.serve.api.table import ROUTES

    whole = document(client)
    assert set(whole["paths"]) == {BASE + route.path for route in ROUTES}
    documents = {route.path for route in ROUTES if isinstance(route.result, type) and route.method == "GET"}
    documents.remove("/jobs/{job}")  # test_job_routes.py makes jobs
    assert documents == {route for route, _, _ in ASKED}
    ids = [one["operationId"] for path in whole["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))
    for path, operations in whole["paths"].items():
        for operation in operations.values():
            inside = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert all(f"{{{name}}}" in path for name in inside)
            assert path.count("{") == len(inside)
            assert all(p["description"] for p in operation["parameters"])


def test_the_routes_of_the_document_exist(client: TestClient) -> None:
    for path in document(client)["paths"]:
        source = "2" if path.endswith("{t_ns}") else "1"
        filled = path.replace("{source}", source).replace("{t_ns}", "0").replace("{span}", "0-1")
        answer = client.get(filled)
        assert answer.status_code != 404 or "no such job" in answer.text, path


def test_the_document_names_ranges_and_tags(client: TestClient) -> None:
    paths = document(client)["paths"]
    video = paths[f"{BASE}/videos/{{source}}"]["get"]
    assert {"200", "206", "304", "416"} <= set(video["responses"])
    assert {"Range", "If-None-Match"} <= {p["name"] for p in video["parameters"] if p["in"] == "header"}
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert ("304" in operation["responses"]) == (method == "get"), path
            assert ("206" in operation["responses"]) == (path.endswith("/videos/{source}")), path
