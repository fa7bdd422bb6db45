"""Rules of fields: what one may not read is unknown, and what one may not read of a row is null, on every path."""

from typing import Any

import pytest

from support.api import Api, fields_of

pytestmark = pytest.mark.anyio

UNKNOWN = [
    ("/people", "fields={}"),
    ("/people/1", "fields={}"),
    ("/people", "{}=1"),
    ("/people", "{}[gt]=1"),
    ("/people", "{}[is]=null"),
    ("/people", "{}[in]=1,2"),
    ("/people", "{}[like]=a%"),
    ("/people", "or=({}=1,id=2)"),
    ("/people", "sort={}"),
    ("/people", "sort=-{}&cursor="),
    ("/people/aggregate", "group={}"),
    ("/people/aggregate", "select=max({})"),
    ("/people/aggregate", "select=count(distinct {})"),
    ("/tasks", "assignee.{}=1"),
    ("/tasks", "sort=assignee.{}"),
    ("/tasks", "include=assignee&fields[assignee]={}"),
    ("/tasks/aggregate", "group=assignee.{}"),
]


@pytest.mark.parametrize("field", ["salary", "pin", "manager_id"])
@pytest.mark.parametrize(("path", "query"), UNKNOWN)
async def test_a_field_that_one_may_not_read_is_unknown(rooms: Api, path: str, query: str, field: str) -> None:
    """The answer is that of a field that nobody has, to the last word; no hint names it."""
    hidden = await rooms.refused(path, query.format(field), who="ann")
    absent = await rooms.refused(path, query.format("nosuch"), who="ann")
    for problem in (hidden, absent):
        problem |= {"request_id": "", "timestamp": ""}
    told = {name: str(value).replace(field, "nosuch") for name, value in hidden.items()}
    assert told == {name: str(value) for name, value in absent.items()}


@pytest.mark.parametrize("typo", ["salari", "pim", "manager_i", "managr", "report"])
async def test_no_hint_names_what_is_hidden(desk: Api, typo: str) -> None:
    """Neither of a query, nor of a body, nor of a path."""
    asked = [
        await desk.send("GET", "/people", f"{typo}=1", who="ann"),
        await desk.send("GET", "/people", f"{typo}.name=1", who="ann"),
        await desk.send("GET", "/people", f"include={typo}", who="ann"),
        await desk.send("GET", "/people", f"sort={typo}", who="ann"),
        await desk.send("GET", f"/people/1/{typo}", who="ann"),
        await desk.send("POST", "/people", who="ann", json={"name": "x", typo: 1}),
        await desk.send("PATCH", "/people/1", who="ann", json={typo: 1}),
        await desk.send("PUT", "/people/1", who="ann", json={"name": "x", typo: 1}),
    ]
    for response in asked:
        assert response.status_code in (400, 404)
        assert not any(f"'{name}'" in response.text for name in ("salary", "pin", "manager", "manager_id", "reports"))
        assert "salary" not in response.json()["hint"]


async def test_a_field_is_there_for_who_may_read_it(rooms: Api) -> None:
    """Shown, filtered, sorted and aggregated."""
    assert [row["salary"] for row in await rooms.data("/people", "sort=id", who="hr")] == [300, 100, 200, 50]
    assert await rooms.ids("/people", "salary[gt]=90&sort=-salary", who="hr") == [1, 3, 2]
    assert await rooms.data("/people/aggregate", "select=sum(salary)", who="hr") == [{"sum_salary": 650}]
    assert "salary" not in (await rooms.data("/people/1", who="ann"))
    assert "pin" not in (await rooms.data("/people/1", who="hr"))


@pytest.mark.parametrize("who", ["", "ann"])
async def test_a_relation_by_a_hidden_reference_is_unknown(rooms: Api, who: str) -> None:
    """Both ways, in includes, filters, sorts and as a path."""
    for way in ("manager", "reports"):
        for query in (f"include={way}", f"{way}.name=Ann", f"{way}.id[is]=null", f"tasks.assignee.{way}.id=1"):
            problem = await rooms.refused("/people", query, who=who)
            absent = await rooms.refused("/people", query.replace(way, "nosuch"), who=who)
            assert problem["detail"].replace(way, "nosuch") == absent["detail"]
            assert problem["hint"] == absent["hint"]
    await rooms.refused("/people", "sort=manager.name", who=who)
    await rooms.refused("/people/1/reports", status=404, who=who)
    assert await rooms.ids("/people/1/reports", who="hr") == [2]
    assert [
        r["manager"] and r["manager"]["id"] for r in await rooms.data("/people", "include=manager", who="hr")
    ] == [*(None, 1, None, 3)]


MASKED: list[tuple[str, str, list[int]]] = [
    ("/people", "email=ann@acme", [1]),
    ("/people", "email=ben@acme", []),
    ("/people", "email[ne]=x", [1]),
    ("/people", "email[in]=ann@acme,ben@acme", [1]),
    ("/people", "email[nin]=x", [1]),
    ("/people", "email[gt]=a", [1]),
    ("/people", "email[lt]=z", [1]),
    ("/people", "email[like]=%25acme", [1]),
    ("/people", "email[ilike]=BEN%25", []),
    ("/people", "email[contains]=en", []),
    ("/people", "email[is]=null", [2, 3, 4]),
    ("/people", "email[is]=notnull", [1]),
    ("/people", "or=(email=ben@acme,id=4)", [4]),
    ("/people", "sort=email,id", [1, 2, 3, 4]),
    ("/people", "sort=-email,id", [2, 3, 4, 1]),
    ("/tasks", "assignee.email=ann@acme", [1, 3]),
    ("/tasks", "assignee.email=ben@acme", []),
    ("/tasks", "assignee.email[is]=null", [2]),
    ("/tasks", "sort=assignee.email,id", [1, 3, 2, 4]),
    ("/tasks", "sort=note,id", [3, 1, 2, 4]),
    ("/tasks", "note[gte]=a", [1, 3]),
    ("/projects", "tasks.note=z", []),
    ("/projects", "tasks.note=m", [1]),
]


@pytest.mark.parametrize(("path", "query", "ids"), MASKED)
async def test_a_field_is_null_where_it_may_not_be_read(rooms: Api, path: str, query: str, ids: list[int]) -> None:
    """In filters and orders, in totals, and in pages by cursor however small."""
    sort = "" if "sort=" in query else "&sort=id"
    assert await rooms.ids(path, query + sort, who="ann") == ids
    assert (await rooms.read(path, query, who="ann"))["meta"]["total"] == len(ids)
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await rooms.read(path, f"{query}{sort}&limit=1&cursor={cursor}", who="ann")
        seen += [row["id"] for row in page["data"]]
        cursor = page["meta"]["next_cursor"]
    assert seen == ids


async def test_a_masked_field_is_null_in_every_answer(rooms: Api) -> None:
    """Items, lists, includes both ways and one inside the other."""
    assert [row["email"] for row in await rooms.data("/people", "sort=id", who="ann")] == [
        "ann@acme",
        None,
        None,
        None,
    ]
    assert [row["email"] for row in await rooms.data("/people", "sort=id")] == [None] * 4
    assert (await rooms.data("/people/2", who="ann"))["email"] is None
    assert (await rooms.data("/people/2", "fields=email", who="ben")) == {"email": "ben@acme"}
    listed = await rooms.data("/tasks", "include=assignee&sort=id&fields=note&fields[assignee]=email", who="ann")
    assert [(row["note"], row["assignee"] and row["assignee"]["email"]) for row in listed] == [
        *(("m", "ann@acme"), (None, None), ("a", "ann@acme"), (None, None))
    ]
    query = "include=tasks.assignee&fields=id&fields[tasks]=note,id&fields[tasks.assignee]=email&sort[tasks]=-note,id"
    (project,) = await rooms.data("/projects", query, who="ann")
    assert [task["note"] for task in project["tasks"]] == [None, "m"]
    assert [task["assignee"]["email"] for task in project["tasks"]] == [None, "ann@acme"]
    item = await rooms.data("/projects/1", query.replace("sort[tasks]=-note,id", "limit[tasks]=1"), who="ben")
    assert item["tasks"] == [{"note": None, "id": 1, "assignee": {"email": None}}]


async def test_aggregates_take_a_masked_field_as_null(rooms: Api) -> None:
    """Measures, groups and distinct values, also along a relation."""
    measures = "select=count,count(note),min(note),max(note),count(distinct note)"
    for who, found in (("ann", [4, 2, "a", "m", 2]), ("ben", [4, 1, "z", "z", 1]), ("hr", [4, 0, None, None, 0])):
        (row,) = await rooms.data("/tasks/aggregate", measures, who=who)
        assert list(row.values()) == found
    rows = await rooms.data("/tasks/aggregate", "group=note&select=count&sort=note", who="ann")
    assert [(row["note"], row["count"]) for row in rows] == [("a", 1), ("m", 1), (None, 2)]
    rows = await rooms.data("/tasks/aggregate", "group=assignee.email&select=count,max(assignee.email)", who="ben")
    assert {(row["assignee.email"], row["count"]) for row in rows} == {("ben@acme", 1), (None, 3)}


async def test_the_answer_of_a_write_is_masked(desk: Api) -> None:
    """A note is shown to the assignee alone, also to who just wrote it."""
    row = await desk.written("POST", "/tasks", {"title": "t", "note": "n", "assignee_id": 2}, who="ann", status=201)
    assert row["note"] is None
    row = await desk.written("POST", "/tasks", {"title": "t", "note": "n", "assignee_id": 1}, who="ann", status=201)
    assert row["note"] == "n"
    row = await desk.written("PATCH", "/tasks/2", {"title": "t"}, who="ann")
    assert (row["title"], row["note"]) == ("t", None)
    row = await desk.written("PATCH", "/tasks/1", {"assignee_id": 2}, who="ann")
    assert row["note"] is None
    assert (await desk.data("/tasks/1", who="ben"))["note"] == "m"


BODIES: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("ann", {"salary": 1}, "unknown_field", ["salary"]),
    ("ann", {"salary": "wrong type"}, "unknown_field", ["salary"]),
    ("ann", {"pin": "1"}, "unknown_field", ["pin"]),
    ("ann", {"manager_id": 1}, "unknown_field", ["manager_id"]),
    ("hr", {"manager_id": 1}, "read_only", ["manager_id"]),
    ("ann", {"version": 1}, "read_only", ["version"]),
]


@pytest.mark.parametrize(("who", "body", "code", "fields"), BODIES)
async def test_a_body_sets_only_what_one_may_set(
    desk: Api, who: str, body: dict[str, Any], code: str, fields: list[str]
) -> None:
    """What one may neither read nor set is no field; what one may only read is read-only. Nothing changes."""
    before = await desk.data("/people", who="hr")
    for method, path in (("POST", "/people"), ("PATCH", "/people/1")):
        problem = await desk.refused(path, method=method, who=who, json={"name": "x", **body})
        assert fields_of(problem) == fields
        assert [error["code"] for error in problem["errors"]] == [code]
    assert await desk.data("/people", who="hr") == before


async def test_a_field_can_be_set_and_not_read(desk: Api) -> None:
    """A new PIN is taken and never shown."""
    row = await desk.written("PATCH", "/people/2", {"pin": "9"}, who="hr")
    assert "pin" not in row
    row = await desk.written("POST", "/people", {"name": "Eve", "pin": "1", "salary": 3}, who="hr", status=201)
    assert (row["salary"], "pin" in row) == (3, False)


async def test_a_write_rule_of_a_field_may_depend_on_the_row(desk: Api) -> None:
    """As the row was before; what it does not admit is not changed at all."""
    await desk.refused("/people/2", method="PATCH", status=403, who="ann", json={"email": "x", "name": "y"})
    assert (await desk.data("/people/2", who="hr"))["name"] == "Ben"
    assert (await desk.written("PATCH", "/people/1", {"email": "new"}, who="ann"))["email"] == "new"
    await desk.refused("/people", method="POST", status=403, who="ann", json={"name": "x", "email": "y"})
    assert len(await desk.data("/people")) == 4
    await desk.refused("/projects/1", method="PATCH", who="ann", json={"budget": 1})
    assert (await desk.written("PATCH", "/projects/1", {"budget": 1}, who="boss"))["budget"] == 1


async def test_a_replacement_keeps_what_its_sender_may_not_set_or_not_see(desk: Api) -> None:
    """A row is sent back as it was read, and nothing is lost."""
    seen = await desk.data("/people/2", who="ann")
    await desk.written("PUT", "/people/2", {k: v for k, v in seen.items() if k != "email"} | {"name": "B"}, who="ann")
    now = await desk.data("/people/2", who="hr")
    assert (now["name"], now["email"], now["salary"], now["manager_id"]) == ("B", "ben@acme", 100, 1)
    project = await desk.data("/projects/1", who="ann")
    await desk.written("PUT", "/projects/1", project, who="ann")
    assert (await desk.data("/projects/1", who="ann"))["budget"] == 1_000


async def test_a_taken_value_names_no_hidden_field(desk: Api) -> None:
    """That a unique value is taken cannot be kept from who writes it; whose it is can."""
    problem = await desk.refused("/people/1", method="PATCH", status=409, who="ann", json={"email": "ben@acme"})
    assert fields_of(problem) == ["email"]
    assert "Ben" not in str(problem)
    problem = await desk.refused("/projects", method="POST", status=409, who="ann", json={"name": "x", "code": "B"})
    assert fields_of(problem) == ["code"]
