"""The documentation of the API is true: it is valid, its examples run, and what comes back is what it says."""

import json
import re
import uuid

import jsonschema
import pytest
import yaml
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from rest_framework.authtoken.models import Token

from tests.house import House, endpoints
from tests.test_roles import ROWS

JSON = "application/json"


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    path = tmp_path_factory.mktemp("openapi") / "schema.yaml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(path))
    return yaml.safe_load(path.read_text())


@pytest.fixture
def house(people):
    return House(people)


def operations(schema):
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def strict(node):
    """OpenAPI 3.0 as JSON schema: `nullable` is a type there, and nothing undocumented may come along."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {name: strict(value) for name, value in node.items() if name != "nullable"}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
    return {"anyOf": [made, {"type": "null"}]} if node.get("nullable") is True else made


def assert_valid(value, wanted, schema, where):
    whole = {**strict(wanted), "components": strict(schema["components"])}
    errors = [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(value)]
    assert not errors, f"{where}: {errors[:3]} in {json.dumps(value)[:300]}"


def test_it_generates_without_a_warning_and_names_every_endpoint(schema):
    documented = {path.lstrip("/") for path in schema["paths"]}
    there = {in_braces(endpoint.route) for endpoint in endpoints() if endpoint.is_api}
    assert documented == there
    for path, method, operation in operations(schema):
        assert operation["summary"], (path, method)
        if "requestBody" in operation:
            assert operation["requestBody"]["content"][JSON].get("examples"), f"{method} {path} has no example"
            assert list(operation["requestBody"]["content"]) == [JSON]


def with_real_ids(value, house, path):
    """The example, about rows that are there."""
    real = {
        "project": house.taste.pk if "/pairs/" in path else house.project.pk,
        "task": house.held.pk, "candidate": house.disputed.candidate_id, "pair": house.held_pair,
        "id": str(uuid.uuid4()),
    }  # fmt: skip
    if path.endswith("/undo"):
        mine = house.people["alice"].annotations.standing().first()
        real["id"] = str(house.preference if "/pairs/" in path else mine.pk)
    if isinstance(value, list):
        return [with_real_ids(item, house, path) for item in value]
    if isinstance(value, dict):
        lists = {"tasks": [house.held.pk], "pairs": [house.held_pair]}
        return {
            name: real[name] if name in real else lists[name] if name in lists else with_real_ids(inner, house, path)
            for name, inner in value.items()
        }
    return value


@pytest.fixture
def clients(people):
    return {
        name: Client(raise_request_exception=False, headers={"Authorization": f"Token {Token.objects.create(user=people[name]).key}"})
        for name in ("alice", "rita", "mia", "max", "olga")
    }  # fmt: skip


def call(client, method, path, body=None):
    with transaction.atomic():
        more = {} if body is None else {"data": json.dumps(body), "content_type": JSON}
        response = getattr(client, method)(path, **more)
        transaction.set_rollback(True)
    return response


def test_every_example_runs_and_gives_what_is_documented(schema, house, clients):
    ran = 0
    for path, method, operation in operations(schema):
        content = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
        for name, example in content.get("examples", {}).items():
            where = f"{method} {path}, {name}"
            assert_valid(example["value"], content["schema"], schema, f"{where}: the example itself")
            body = with_real_ids(example["value"], house, path)
            response = call(clients[who(path)], method, address(path, house), body)
            assert response.status_code == 200, f"{where}: {response.content[:300]}"
            assert_valid(response.json(), operation["responses"]["200"]["content"][JSON]["schema"], schema, where)
            statuses = {row["status"] for row in response.json().get("results", ()) if "status" in row}
            assert statuses <= {"saved"}, f"{where}: {response.content[:300]}"
            ran += 1
    assert ran >= 15


def test_every_example_of_an_answer_is_one(schema):
    for path, method, operation in operations(schema):
        for status, response in operation["responses"].items():
            content = response.get("content", {}).get(JSON, {})
            for name, example in content.get("examples", {}).items():
                assert_valid(example["value"], content["schema"], schema, f"{method} {path} {status} {name}")


def test_what_is_read_is_as_documented(schema, house, clients):
    for path, method, operation in operations(schema):
        if method != "get" or JSON not in operation["responses"]["200"]["content"]:
            continue
        response = call(clients[who(path)], method, address(path, house))
        assert response.status_code == 200, path
        assert_valid(response.json(), operation["responses"]["200"]["content"][JSON]["schema"], schema, f"GET {path}")


def test_refusals_are_as_documented(schema, house, clients):
    for path, method, operation in operations(schema):
        real = address(path, house)
        asked = [(Client(), {}, "401")]
        if method != "get":
            asked.append((clients[who(path)], {"surprise": 1}, "400"))
        if ROWS[name_of(path)].guard != "label":
            asked.append((clients["mia" if "/review/" in path else "alice"], {}, "403"))
        for client, body, status in asked:
            response = call(client, method, real, None if method == "get" else body)
            assert str(response.status_code) == status, (path, response.content)
            assert_valid(response.json(), operation["responses"][status]["content"][JSON]["schema"], schema, f"{path} {status}")


def in_braces(route):
    """An address of Django's as OpenAPI writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)


def address(path, house):
    """With the ids of real rows."""
    return house.path(next(one for one in endpoints() if in_braces(one.route) == path.lstrip("/")))


def who(path):
    """Somebody who may."""
    return {"review": "rita", "freeze_datasets": "max", "import_data": "max", "see_candidates": "max", "edit_products": "olga", "generate": "olga"}.get(ROWS[name_of(path)].guard, "alice")


def name_of(path):
    return next(one.name for one in endpoints() if in_braces(one.route) == path.lstrip("/"))
