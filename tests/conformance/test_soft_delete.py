"""Soft delete: a row that was deleted is nowhere, until somebody who may sees it and restores it."""

import pytest

from backstay.testing import statements
from support.api import Api

pytestmark = pytest.mark.anyio

LISTS = [
    ("/projects", "", "ann", [1]),
    ("/projects", "name=Anvil", "ann", []),
    ("/projects", "deleted_at[is]=notnull", "ann", []),
    ("/projects", "with_deleted=false", "ann", [1]),
    ("/projects", "tasks.title=forge", "ann", []),
    ("/tasks", "project.name=Anvil", "ann", []),
    ("/tasks", "project.id[is]=null", "ann", []),
    ("/tasks", "project.deleted_at[is]=notnull", "keeper", []),
    ("/labels", "tasks.title=forge", "ann", []),
    ("/labels/1/tasks", "", "ann", [1]),
    ("/tasks/3/labels", "", "ann", []),
    ("/tasks/2/labels", "", "ann", []),
    ("/tasks/1/labels", "", "ann", [1, 2]),
    ("/taggings", "", "ann", [1, 4, 5]),
    ("/projects", "with_deleted=true", "keeper", [1, 2]),
    ("/projects", "with_deleted=only", "keeper", [2]),
    ("/projects", "with_deleted=only&name=Gone", "keeper", []),
    ("/projects", "with_deleted=only", "keeper of bolt", [4]),
    ("/taggings", "with_deleted=only", "boss", [3]),
]


@pytest.mark.parametrize(("path", "query", "who", "ids"), LISTS)
async def test_a_deleted_row_is_in_no_list(rooms: Api, path: str, query: str, who: str, ids: list[int]) -> None:
    """Nor in its total, its pages by cursor or its aggregate, unless asked for by who may restore it."""
    assert await rooms.ids(path, f"{query}&sort=id", who=who) == ids
    assert (await rooms.read(path, query, who=who))["meta"]["total"] == len(ids)
    page = await rooms.read(path, f"{query}&cursor=&limit=100", who=who)
    assert [row["id"] for row in page["data"]] == ids
    if path.count("/") == 1:
        assert await rooms.data(f"{path}/aggregate", query, who=who) == [{"count": len(ids)}]


async def test_a_deleted_row_is_not_found(rooms: Api) -> None:
    """As one that never was; also as a parent."""
    for path in ("/projects/2", "/projects/2/tasks"):
        await rooms.refused(path, who="ann", status=404)
        await rooms.refused(path, who="keeper", status=404)
    assert (await rooms.data("/projects/2", "with_deleted=true", who="keeper"))["name"] == "Anvil"
    assert (await rooms.data("/projects/2", "with_deleted=only", who="keeper"))["deleted_at"]
    assert (await rooms.data("/projects/1", "with_deleted=true", who="keeper"))["deleted_at"] is None
    await rooms.refused("/projects/1", "with_deleted=only", who="keeper", status=404)
    await rooms.refused("/projects/4", "with_deleted=true", who="keeper", status=404)


async def test_a_deleted_row_is_included_nowhere(rooms: Api) -> None:
    """To-one null; what was asked for is the listed rows, not those that they lead to."""
    assert (await rooms.data("/tasks/3", "include=project", who="ann"))["project"] is None
    listed = await rooms.data("/projects", "with_deleted=true&include=tasks.project&sort=id", who="keeper")
    assert [[task["project"] and task["project"]["id"] for task in row["tasks"]] for row in listed] == [
        [1, 1],
        [None],
    ]
    tasks = await rooms.data("/tasks", "include=labels&sort=id&fields=id&fields[labels]=id", who="ann")
    assert [[label["id"] for label in task["labels"]] for task in tasks] == [[1, 2], [], [], []]
    rows = await rooms.data("/tasks/aggregate", "group=project.name&select=count&sort=project.name", who="ann")
    assert rows == [{"project.name": "Rocket", "count": 2}, {"project.name": None, "count": 2}]


@pytest.mark.parametrize(("who", "status"), [("ann", 403), ("hr", 403), ("dee", 403), ("", 401), ("reader", 403)])
@pytest.mark.parametrize("path", ["/projects", "/projects/2", "/projects/4", "/projects/aggregate"])
async def test_who_may_not_restore_may_not_look(rooms: Api, who: str, status: int, path: str) -> None:
    """Refused before any row is looked at."""
    for value in ("true", "only"):
        response = await rooms.send("GET", path, f"with_deleted={value}", who=who)
        assert response.status_code == status, response.text
        assert statements(response) == 0


@pytest.mark.parametrize("value", ["", "yes", "1", "TRUE", "only,true"])
async def test_with_deleted_is_one_of_three_words(rooms: Api, value: str) -> None:
    """Anything else is refused; so is the parameter where rows are deleted for good."""
    await rooms.refused("/projects", f"with_deleted={value}", who="keeper")
    await rooms.refused("/projects/1", f"with_deleted={value}", who="keeper")
    for word in ("true", "only"):
        problem = await rooms.refused("/tasks", f"with_deleted={word}", who="keeper")
        assert problem["errors"][0]["code"] == "unknown_parameter"


async def test_delete_hides_and_counts(desk: Api) -> None:
    """A second time it is not found; nor can a deleted row be changed."""
    before = await desk.send("GET", "/projects/1", who="keeper")
    assert (await desk.send("DELETE", "/projects/1", who="ann")).status_code == 204
    for method in ("DELETE", "GET"):
        await desk.refused("/projects/1", method=method, who="ann", status=404)
    for method in ("PATCH", "PUT"):
        await desk.refused("/projects/1", method=method, who="ann", status=404, json={"name": "x", "code": "y"})
    assert await desk.ids("/projects", who="ann") == []
    assert (await desk.data("/tasks/1", "include=project", who="ann"))["project"] is None
    after = await desk.send("GET", "/projects/1", "with_deleted=true", who="keeper")
    assert after.headers["etag"] != before.headers["etag"]
    row = after.json()["data"]
    assert (row["version"], row["deleted_at"] is None) == (2, False)
    assert row["updated_at"] > before.json()["data"]["updated_at"]


async def test_restore_brings_it_back(desk: Api) -> None:
    """As it was, one version on; a second time there is nothing to restore."""
    row = await desk.written("POST", "/projects/2/restore", None, who="keeper")
    assert (row["deleted_at"], row["version"], row["name"]) == (None, 2, "Anvil")
    await desk.refused("/projects/2/restore", method="POST", who="keeper", status=404)
    assert await desk.ids("/projects", "sort=id", who="ann") == [1, 2]
    assert (await desk.data("/tasks/3", "include=project", who="ann"))["project"]["id"] == 2
    assert (await desk.send("DELETE", "/projects/2", who="ann")).status_code == 204


@pytest.mark.parametrize(
    ("who", "key", "status"), [("ann", 2, 403), ("", 2, 401), ("dee", 2, 403), ("keeper", 4, 404), ("keeper", 1, 404)]
)
async def test_restore_is_for_who_may(desk: Api, who: str, key: int, status: int) -> None:
    """Of one's own tenant and deleted; an absent row answers the same."""
    await desk.refused(f"/projects/{key}/restore", method="POST", who=who, status=status)
    await desk.refused("/projects/999/restore", method="POST", who=who, status=status)
    assert await desk.ids("/projects", "with_deleted=only", who="keeper") == [2]
    assert await desk.ids("/projects", "with_deleted=only", who="keeper of bolt") == [4]


async def test_restore_takes_no_parameters(desk: Api) -> None:
    """As other writes; and rows that are deleted for good have no such path."""
    await desk.refused("/projects/2/restore", "with_deleted=true", method="POST", who="keeper")
    await desk.refused("/tasks/2/restore", method="POST", who="keeper", status=404)
    await desk.refused("/projects/2/restore", who="keeper", status=405)
    await desk.refused("/projects/no/restore", method="POST", who="keeper", status=404)


async def test_nobody_sets_when_a_row_was_deleted(desk: Api) -> None:
    """But by deleting it."""
    for method, path in (("POST", "/projects"), ("PATCH", "/projects/1")):
        body = {"name": "x", "code": "y", "deleted_at": "2026-01-01T00:00:00Z"}
        await desk.refused(path, method=method, who="keeper", json=body)
    row = await desk.data("/projects/1", who="ann")
    body = row | {"deleted_at": "2026-01-01T00:00:00Z"}
    assert (await desk.written("PUT", "/projects/1", body, who="ann"))["deleted_at"] is None


async def test_a_deleted_row_keeps_its_unique_values(desk: Api) -> None:
    """The database keeps the promise of a unique column; a model that wants them free declares a partial index."""
    problem = await desk.refused("/projects", method="POST", who="ann", status=409, json={"name": "x", "code": "A"})
    assert problem["errors"][0]["field"] == "code"
