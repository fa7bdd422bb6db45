"""A version in which every name is another: tenants, soft delete, rules of fields and references stay the same."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay import Added, Backstay, Renamed, Version
from backstay.schema.resource import Catalog, Resource
from backstay.testing import client
from support.api import Api
from support.databases import DATABASES
from support.office import OFFICE, PEOPLE_BY_NAME, office

pytestmark = pytest.mark.anyio
WHO = ("", "ann", "ben", "hr", "keeper", "keeper of bolt", "tasks reader", "dee", "nothing")


def renamed(url: str) -> Backstay:
    """The world of rules, whose `v1` puts `old_` before every name."""
    app = office(url)
    changes: list[Renamed] = []
    for name, resource in app.catalog().resources.items():
        members = (*resource.table.columns, *resource.table.relationships)
        changes += [Renamed(f"{name}.{member}", was=old(member)) for member in members]
        changes.append(Renamed(name, was=old(name)))
    app.versions("v2", Version("v1", changes))
    return app


def old(name: str) -> str:
    """What a name was."""
    return f"old_{name}"


@pytest.fixture(params=DATABASES)
async def both(
    request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[tuple[Api, Catalog]]:
    """The app over a database, and its current names."""
    app = renamed(OFFICE.own(request.param, tmp_path))
    async with client(app) as http:
        yield Api(http, people=PEOPLE_BY_NAME, base="/api"), app.catalog()


def reads(catalog: Catalog, resource: Resource) -> Iterator[tuple[str, str, str, str]]:
    """Paths and queries of a resource: in `v1`, and in `v2`."""
    base, key = f"/{resource.name}", resource.table.key[0]
    was = f"/{old(resource.name)}"
    yield was, "with_deleted=only", base, "with_deleted=only"
    yield was, "cursor=&limit=2", base, "cursor=&limit=2"
    for number in (1, 2, 3, 99):
        yield f"{was}/{number}", "", f"{base}/{number}", ""
    for name in resource.table.columns:
        for query in ("{}[is]=null", "{}=1", "sort=-{}", "fields={}", "or=({}=1,{}[is]=notnull)"):
            yield was, query.replace("{}", old(name)), base, query.replace("{}", name)
        yield f"{was}/aggregate", f"group={old(name)}", f"{base}/aggregate", f"group={name}"
    for name in resource.table.relationships:
        yield was, f"include={old(name)}", base, f"include={name}"
        yield was, f"{old(name)}.{old(key)}[gt]=1", base, f"{name}.{key}[gt]=1"
        yield f"{was}/1/{old(name)}", "", f"{base}/1/{name}", ""
        for further in catalog.schema.tables[resource.table.relationships[name].target].relationships:
            path = f"{name}.{further}"
            yield was, f"include={old(name)}.{old(further)}", base, f"include={path}"


def said(body: Any, *, to_old: bool) -> Any:
    """A body without what no two answers share, its names those of `v1`."""
    if isinstance(body, list):
        return [said(item, to_old=to_old) for item in body]
    if isinstance(body, dict):
        return {old(name) if to_old else name: said(value, to_old=to_old) for name, value in body.items()}
    return body


def told(problem: Any, *, to_old: bool) -> Any:
    """What a problem says of fields."""
    fields = [(error["field"], error["code"]) for error in problem["errors"]]
    if not to_old:
        return problem["code"], sorted((field.replace("old_", ""), code) for field, code in fields)
    return problem["code"], sorted(fields)


@pytest.mark.parametrize("who", WHO)
async def test_every_read_is_the_same_under_other_names(both: tuple[Api, Catalog], who: str) -> None:
    """Whatever is filtered, sorted, grouped, included or nested, for whoever asks."""
    api, catalog = both
    served = 0
    for resource in catalog.resources.values():
        for was, was_query, path, query in reads(catalog, resource):
            before = await api.send("GET", f"/v1{was}", was_query, who=who)
            now = await api.send("GET", f"/v2{path}", query, who=who)
            assert before.status_code == now.status_code, (path, query, before.text, now.text)
            if now.status_code == 200:
                served += 1
                assert said(before.json()["data"], to_old=False) == said(now.json()["data"], to_old=True), (
                    path,
                    query,
                )
                found, wanted = before.json().get("meta"), now.json().get("meta")
                assert {n: v for n, v in (found or {}).items() if "cursor" not in n} == {
                    n: v for n, v in (wanted or {}).items() if "cursor" not in n
                }
            else:
                assert told(before.json(), to_old=False) == told(now.json(), to_old=True), (path, query)
    assert (served > 20) is (who != "nothing")


@pytest.mark.parametrize("who", WHO)
async def test_every_write_is_taken_or_refused_alike(both: tuple[Api, Catalog], who: str) -> None:
    """Empty bodies, each field set to null or to what it cannot be, rows that are not there or not to be seen."""
    api, catalog = both
    for name, resource in catalog.resources.items():
        sent = [("POST", "", {})]
        for number in (1, 3, 99):
            for column in resource.table.columns:
                sent += [("PATCH", f"/{number}", {column: value}) for value in (None, 99, "x")]
            sent.append(("POST", f"/{number}/restore", {}))
        for method, below, body in sent:
            was = {old(column): value for column, value in body.items()}
            before = await api.send(method, f"/v1/{old(name)}{below}", who=who, json=was)
            now = await api.send(method, f"/v2/{name}{below}", who=who, json=body)
            assert before.status_code == now.status_code, (method, name, below, body, before.text, now.text)
            if before.status_code >= 400:
                assert told(before.json(), to_old=False) == told(now.json(), to_old=True), (method, name, below, body)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("who", WHO)
async def test_rules_of_what_is_not_served_hold(database: str, who: str, tmp_path: Path) -> None:
    """A link that a rule hides is hidden where the table of links has no path, and so is a draft."""
    app = office(OFFICE.own(database, tmp_path))
    app.versions("v2", Version("v1", [Added("taggings"), Added("drafts")]))
    async with client(app) as http:
        api = Api(http, people=PEOPLE_BY_NAME, base="/api")
        for path in ("/labels?include=tasks", "/tasks?labels.id=1", "/tasks?include=labels", "/replies"):
            found = [(await api.send("GET", f"/{version}{path}", who=who)).content for version in ("v1", "v2")]
            assert found[0].split(b'"instance"')[0] == found[1].split(b'"instance"')[0]
        for draft in (1, 2, 3, 99):
            body = {"text": "x", "draft_id": draft}
            sent = [await api.send("POST", f"/{version}/replies", who=who, json=body) for version in ("v1", "v2")]
            assert sent[0].status_code == sent[1].status_code
