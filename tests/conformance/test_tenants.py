"""Tenants: one's own rows, on every path, and nothing that tells of another tenant's."""

import pytest

from support.api import Api, fields_of
from support.office import TASKS

pytestmark = pytest.mark.anyio

OWN = {1: [1, 2, 3, 4], 2: [5, 6]}
LISTS = [
    ("/tasks", "", "ann", [1, 2, 3, 4]),
    ("/tasks", "", "cy", [5, 6]),
    ("/tasks", "", "lost", []),
    ("/tasks", "", "odd", []),
    ("/tasks", "tenant_id=2", "ann", []),
    ("/tasks", "tenant_id[ne]=1", "ann", []),
    ("/tasks", "or=(id=5,id=1)", "ann", [1]),
    ("/tasks", "project.name=Bicycle", "ann", []),
    ("/tasks", "project.name=Bicycle", "cy", [5]),
    ("/projects", "tasks.title=pedal", "ann", []),
    ("/projects", "", "cy", [3]),
    ("/people", "tasks.title=brake", "ann", []),
    ("/people", "tasks.title=brake", "cy", [1]),
    ("/people", "tasks.title=brake", "dee", []),
    ("/people", "tasks.title=brake", "", []),
    ("/people/1/tasks", "", "ann", [1, 3]),
    ("/people/1/tasks", "", "cy", [6]),
    ("/labels/1/tasks", "", "ann", [1]),
    ("/labels/1/tasks", "", "cy", [5]),
    ("/labels", "tasks.title=pedal", "ann", []),
    ("/labels", "tasks.title=pedal", "cy", [1]),
    ("/orgs", "", "ann", [1]),
    ("/orgs", "", "dee", []),
]


@pytest.mark.parametrize(("path", "query", "who", "ids"), LISTS)
async def test_a_list_holds_one_tenants_rows(rooms: Api, path: str, query: str, who: str, ids: list[int]) -> None:
    """So do its total and its pages by cursor."""
    assert await rooms.ids(path, f"{query}&sort=id", who=who) == ids
    assert (await rooms.read(path, query, who=who))["meta"]["total"] == len(ids)
    page = await rooms.read(path, f"{query}&cursor=&limit=100", who=who)
    assert sorted(row["id"] for row in page["data"]) == ids


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/tasks", ""),
        ("/tasks/1", ""),
        ("/tasks/aggregate", "select=count"),
        ("/projects/1/tasks", ""),
        ("/projects", ""),
    ],
)
async def test_who_names_no_tenant_is_told_so(rooms: Api, path: str, query: str) -> None:
    """Signed in, 403 with a code of its own; anonymous, 401: whatever the key."""
    assert (await rooms.refused(path, query, who="dee", status=403))["code"] == "TENANT_REQUIRED"
    assert (await rooms.refused(path, query, status=401))["code"] == "UNAUTHENTICATED"
    there = await rooms.refused(path.replace("1", "3"), query, who="dee", status=403)
    assert there["code"] == "TENANT_REQUIRED"


async def test_who_names_no_tenant_writes_nothing(desk: Api) -> None:
    """Also where the rule is public."""
    asked = [("POST", "/tasks", {"title": "t"}), ("PATCH", "/tasks/1", {"title": "t"}), ("DELETE", "/tasks/1", None)]
    for method, path, body in asked:
        problem = await desk.refused(path, method=method, who="dee", status=403, json=body)
        assert problem["code"] == "TENANT_REQUIRED"
        await desk.refused(path, method=method, status=401, json=body)
    assert await desk.ids("/tasks", "sort=id", who="ann") == OWN[1]


@pytest.mark.parametrize("who", ["lost", "odd"])
async def test_a_tenant_that_is_not_there_has_and_gets_no_rows(desk: Api, who: str) -> None:
    """A token may outlive its tenant."""
    problem = await desk.refused("/tasks", method="POST", who=who, status=403, json={"title": "t"})
    assert problem["code"] == "FORBIDDEN"
    await desk.refused("/tasks/1", method="PATCH", who=who, status=404, json={"title": "t"})
    assert await desk.ids("/tasks", who=who) == []


async def test_the_server_alone_sets_the_tenant(desk: Api) -> None:
    """A row is made in one's own tenant, and cannot be moved."""
    assert (await desk.written("POST", "/tasks", {"title": "t"}, who="cy", status=201))["tenant_id"] == 2
    for method, path in (("POST", "/tasks"), ("PATCH", "/tasks/1")):
        problem = await desk.refused(path, method=method, who="ann", json={"title": "t", "tenant_id": 2})
        assert fields_of(problem) == ["tenant_id"]
    row = await desk.data("/tasks/1", who="ann")
    assert (await desk.written("PUT", "/tasks/1", row | {"tenant_id": 2}, who="ann"))["tenant_id"] == 1


async def test_included_and_counted_rows_are_of_ones_own_tenant(rooms: Api) -> None:
    """A person belongs to no tenant, its tasks do."""
    for who, ids in (("ann", [1, 3]), ("cy", [6]), ("dee", []), ("", [])):
        person = await rooms.data("/people/1", "include=tasks&fields[tasks]=id&sort[tasks]=id", who=who)
        assert [task["id"] for task in person["tasks"]] == ids
    for who in ("ann", "cy"):
        number = sum(row["tenant_id"] == (1 if who == "ann" else 2) for row in TASKS)
        assert (await rooms.data("/tasks/aggregate", "select=count", who=who)) == [{"count": number}]
    rows = await rooms.data("/tasks/aggregate", "group=project.name&select=count&sort=project.name", who="cy")
    assert rows == [{"project.name": "Bicycle", "count": 1}, {"project.name": None, "count": 1}]


SCOPES: list[tuple[str, str, str, int]] = [
    ("reader", "GET", "/tasks", 200),
    ("reader", "POST", "/tasks", 403),
    ("reader", "PATCH", "/tasks/1", 403),
    ("reader", "DELETE", "/tasks/1", 403),
    ("tasks reader", "GET", "/tasks/1", 200),
    ("tasks reader", "GET", "/projects", 403),
    ("tasks reader", "GET", "/projects/1/tasks", 403),
    ("tasks writer", "GET", "/tasks", 403),
    ("tasks writer", "GET", "/tasks/aggregate", 403),
    ("tasks writer", "POST", "/tasks", 201),
    ("tasks writer", "PATCH", "/tasks/1", 200),
    ("tasks writer", "DELETE", "/tasks/4", 204),
    ("tasks writer", "POST", "/projects", 403),
    ("nothing", "GET", "/tasks", 403),
    ("nothing", "GET", "/people", 403),
]


@pytest.mark.parametrize(("who", "method", "path", "status"), SCOPES)
async def test_a_credential_does_what_its_scopes_name(
    desk: Api, who: str, method: str, path: str, status: int
) -> None:
    """A refusal names the scope (RFC 6750), in its words and in its header."""
    given = {"name": "t", "code": "t"} if path == "/projects" else {"title": "t"}
    body = given if method in ("POST", "PATCH") else None
    response = await desk.send(method, path, who=who, json=body)
    assert response.status_code == status, response.text
    if status == 403:
        assert response.json()["code"] == "INSUFFICIENT_SCOPE"
        assert 'error="insufficient_scope", scope="' in response.headers["www-authenticate"]


async def test_a_relation_that_no_scope_covers_is_empty(rooms: Api) -> None:
    """As if its rule said no: in includes, filters, sorts and groups."""
    listed = await rooms.data("/tasks", "include=project,labels&sort=id", who="tasks reader")
    assert [(row["project"], row["labels"]) for row in listed] == [(None, [])] * 4
    assert await rooms.ids("/tasks", "project.name=Rocket", who="tasks reader") == []
    assert await rooms.ids("/tasks", "sort=-project.name,-id", who="tasks reader") == [4, 3, 2, 1]
    rows = await rooms.data("/tasks/aggregate", "group=project.name&select=count", who="tasks reader")
    assert rows == [{"project.name": None, "count": 4}]
    assert len((await rooms.data("/tasks/1", "include=project,labels", who="reader"))["labels"]) == 2


async def test_a_credential_that_only_writes_is_shown_nothing_that_it_did_not_say(desk: Api) -> None:
    """Changing nothing would be reading."""
    assert await desk.written("PATCH", "/tasks/1", {}, who="tasks writer") == {"id": 1}
    await desk.refused("/tasks/5", method="PATCH", who="tasks writer", status=404, json={})
    await desk.refused("/tasks/5", method="DELETE", who="tasks writer", status=404)
