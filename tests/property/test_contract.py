"""The contract of any schema is valid, and every answer is as it says."""

from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from support.asgi import Client
from support.contract import Contract
from support.made import Pairs, draw_aggregate, draw_list, fresh_urls, served
from support.schemas import World, text_of, worlds

REQUESTS = 3
BASE = "/api/v1"


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A database of each kind, whose tables each example makes anew."""
    return fresh_urls(tmp_path_factory.mktemp("contract"))


def hold(contract: Contract, client: Client, template: str, path: str, pairs: Pairs) -> None:
    """A read is answered as documented; what is of no use to this principal is refused as documented."""
    answer = client.get(path, pairs)
    assert contract.faults("GET", BASE + template, answer) == [], (path, pairs)


def hold_writes(contract: Contract, client: Client, name: str) -> None:
    """The documented example is taken, or refused for the rows that are there; then it is changed and deleted."""
    template = f"{BASE}/{name}"
    content = contract.operation("POST", template)["requestBody"]["content"]["application/json"]
    made = client.post(f"/{name}", content["example"])
    assert made.status in (201, 409), made.body
    assert contract.faults("POST", template, made) == []
    where = made.headers["location"].removeprefix(BASE) if made.status == 201 else f"/{name}/0"
    for method, body in (
        ("PATCH", {}),
        ("PATCH", {"no such field": 1}),
        ("PUT", content["example"]),
        ("DELETE", None),
    ):
        answer = client.request(method, where, body=body)
        assert contract.faults(method, f"{template}/{{key}}", answer) == [], (method, where)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), data=st.data())
def test_answers_are_as_documented(urls: dict[str, str], world: World, data: st.DataObject) -> None:
    """Status, media type, headers and body of lists, pages, items, nested lists, aggregates and writes, on both."""
    note(repr([(m.name, m.columns, m.key, m.one, m.many, m.rows) for m in world.models.values()]))
    with served(urls, world) as clients:
        contracts = {name: Contract(client.app.openapi()) for name, client in clients.items()}
        requests = [_request(data.draw, world) for _ in range(REQUESTS)]
        for name, client in clients.items():
            for steps in requests:
                for template, path, pairs in steps:
                    hold(contracts[name], client, template, path, pairs)
            for model in world.models.values():
                hold_writes(contracts[name], client, model.name)


def _request(draw: Any, world: World) -> list[tuple[str, str, Pairs]]:
    """A list, by its page and by a cursor, an aggregate, an item and the lists below it."""
    model = draw(st.sampled_from(list(world.models.values())))
    pairs = draw_list(draw, world, model)
    at = f"/{model.name}"
    steps = [(at, at, pairs), (at, at, [*pairs, ("cursor", "")]), (at, at, [*pairs, ("count", "false")])]
    steps += [(f"{at}/aggregate", f"{at}/aggregate", draw_aggregate(draw, world, model)), (at, at, [("nmae", "x")])]
    if model.rows:
        row = draw(st.sampled_from(model.rows))
        key = ",".join(quote(text_of(row[name]), safe="") for name in model.key)
        steps.append((f"{at}/{{key}}", f"{at}/{key}", []))
        for way, name in model.many.items():
            below = draw_list(draw, world, world.models[name])
            steps.append((f"{at}/{{key}}/{way}", f"{at}/{key}/{way}", below))
    return steps


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds())
def test_documents_are_valid(urls: dict[str, str], world: World) -> None:
    """OpenAPI's own schema accepts them, JSON Schema's each of theirs, and every text and list has a bound."""
    with served(urls, world) as clients:
        for client in clients.values():
            document = client.app.openapi()
            schemathesis.openapi.from_dict(document).validate()
            for schema in document["components"]["schemas"].values():
                jsonschema_rs.meta.validate({"$schema": document["jsonSchemaDialect"], **schema})
            assert list(unbounded(document)) == []


def unbounded(node: Any, at: str = "") -> list[str]:
    """The places of schemas that admit a text or a list of any length."""
    found: list[str] = []
    if isinstance(node, dict):
        types = node.get("type", ())
        types = {types} if isinstance(types, str) else set(types) if isinstance(types, list) else set()
        if "string" in types and not node.keys() & {"maxLength", "enum", "const"}:
            found.append(at)
        if "array" in types and "maxItems" not in node:
            found.append(at)
        for name, part in node.items():
            if name not in ("example", "examples"):
                found += unbounded(part, f"{at}/{name}")
    elif isinstance(node, list):
        for number, part in enumerate(node):
            found += unbounded(part, f"{at}/{number}")
    return found
