"""Across tenants: every route, with every id of another tenant, answers as for an id that nobody has.

The requests are made from the app's own table of routes, so that a new route is asked too.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from backstay.rest.routes import Route
from support.asgi import Answer, Client
from support.databases import DATABASES, dump
from support.office import OFFICE, PEOPLE_BY_NAME, TABLES, office

#: Whose rows are asked for, by whom: each by a member of the other tenant and by who is of none.
ASKED = [(2, "ann"), (2, "boss"), (2, "keeper"), (1, "cy"), (1, "keeper of bolt"), (1, "dee"), (1, ""), (2, "lost")]
#: What is no key of any row, of as many digits as those that are.
ABSENT = 9
_OWN = re.compile(r'"request_id":"[^"]*","timestamp":"[^"]*"|[a-z]+;dur=[0-9.]+(, )?')
BODIES: dict[str, list[dict[str, Any]]] = {
    "projects": [{"name": "x", "code": "x"}, {"name": "x"}, {"code": "B"}, {}, {"nosuch": 1}, {"tenant_id": 1}],
    "tasks": [{"title": "x"}, {"title": "x", "note": "y", "project_id": 1}, {}, {"title": 5}, {"id": 5}],
}
SCOPED = {name: {row["id"]: row["tenant_id"] for row in rows} for name, rows in TABLES if "tenant_id" in rows[0]}


@pytest.fixture(scope="module", params=DATABASES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, str]]:
    """The world of rules, which no request here may change."""
    url = OFFICE.own(request.param, tmp_path_factory.mktemp("tenants"))
    with Client(office(url)) as client:
        yield client, url


def keyed(client: Client) -> list[Route]:
    """The routes below a key of a table whose rows have tenants."""
    return [r for r in client.app.routes() if "{key}" in r.path and owner_of(r) in SCOPED]


def owner_of(route: Route) -> str:
    """Whose key the path has."""
    return route.path.removeprefix("/api/v1/").partition("/")[0]


def bodies(route: Route) -> list[Any]:
    """Good and bad bodies for a route."""
    if route.method not in ("POST", "PUT", "PATCH"):
        return [None]
    child = route.path.rpartition("/")[2]
    return [None] if child == "restore" else BODIES.get(route.resource, [{}])


def told(answer: Answer, key: int) -> tuple[int, str, dict[str, str]]:
    """All that an answer tells, but for what belongs to the request and its key."""
    headers = {name: _OWN.sub("", value) for name, value in answer.headers.items() if name != "x-request-id"}
    body = _OWN.sub("", answer.body.decode())
    return answer.status, re.sub(rf"(?<=['/=]){key}(?=['/\"])", "KEY", body), headers


def test_every_kind_of_route_is_asked(served: tuple[Client, str]) -> None:
    """An endpoint that is left out proves nothing."""
    actions = {route.action for route in keyed(served[0])}
    assert actions >= {"read", "update", "replace", "delete", "restore", "list below", "create below"}


@pytest.mark.parametrize(("tenant", "who"), ASKED)
def test_an_id_of_another_tenant_is_one_that_nobody_has(served: tuple[Client, str], tenant: int, who: str) -> None:
    """Equal status, words, headers and number of statements, and 404 where the principal has a tenant."""
    client, url = served
    credential = PEOPLE_BY_NAME[who].get("authorization", "")
    before, asked = dump(url), 0
    for route in keyed(client):
        for key in (key for key, owner in SCOPED[owner_of(route)].items() if owner == tenant):
            for body in bodies(route):
                for query in QUERIES if route.method == "GET" else ("",):
                    answers = [
                        client.request(
                            route.method,
                            route.path.removeprefix("/api/v1").replace("{key}", str(number)),
                            query,
                            body=body,
                            credential=credential,
                        )
                        for number in (key, ABSENT)
                    ]
                    asked += 1
                    assert told(answers[0], key) == told(answers[1], ABSENT), (route, key, query, body)
                    check_status(answers[0], who, route, query)
    assert asked > 40
    assert dump(url) == before


QUERIES = ("", "fields=id", "include=nosuch", "with_deleted=true", "limit=1&count=false", "cursor=", "id[gt]=0")


def check_status(answer: Answer, who: str, route: Route, query: str) -> None:
    """404, but where the request is refused whatever its key."""
    if who == "":
        assert answer.status in (400, 401), (route, query, answer.body)
    elif who == "dee":
        assert answer.status in (400, 403), (route, query, answer.body)
    elif answer.status == 403:
        # Whoever may not restore is told so before any row is looked for.
        assert "with_deleted" in query or route.action == "restore"
    else:
        assert answer.status in (400, 404), (route, query, answer.body)


@pytest.mark.parametrize(("tenant", "who"), ASKED)
def test_no_list_has_a_row_of_another_tenant(served: tuple[Client, str], tenant: int, who: str) -> None:
    """Every list, nested list and aggregate, with every relation included; totals count one's own rows."""
    client, _ = served
    credential = PEOPLE_BY_NAME[who].get("authorization", "")
    for route in client.app.routes():
        if route.method != "GET" or not route.path.startswith("/api/v1/") or route.action == "custom":
            continue
        path = route.path.removeprefix("/api/v1")
        resource = client.app.catalog().resources[route.resource]
        includes = [] if route.action == "aggregate" else ["", *resource.relationships]
        for key in range(1, 10) if "{key}" in path else (0,):
            for include in includes:
                query = f"include={include}" if include else ""
                answer = client.get(path.replace("{key}", str(key)), query, credential=credential)
                assert f'"tenant_id":{tenant}' not in answer.body.decode(), (route, key, include)
    for name, owners in SCOPED.items():
        mine = [key for key, owner in owners.items() if owner != tenant and who not in ("lost", "dee", "")]
        answer = client.get(f"/{name}/aggregate", "select=count,min(id),max(id)", credential=credential)
        if answer.status == 200:
            (row,) = answer.data
            assert row["count"] <= len(mine)
            assert {row["min_id"], row["max_id"]} <= {*mine, None}
