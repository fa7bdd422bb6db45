"""References: one to a row out of sight is refused as one to a row that is not there, in every word and header."""

import re
from typing import TYPE_CHECKING, Any

import pytest

from support.api import Api

if TYPE_CHECKING:
    from httpx2 import Response

pytestmark = pytest.mark.anyio

ABSENT = 4_242
#: What no two answers share.
OWN = re.compile(r'"request_id":"[^"]*","timestamp":"[^"]*"|[a-z]+;dur=[0-9.]+')

#: Method, path, body without the reference, the reference, who, and a row out of sight.
HIDDEN: list[tuple[str, str, dict[str, Any], str, str, int]] = [
    ("POST", "/tasks", {"title": "t"}, "project_id", "ann", 3),
    ("POST", "/tasks", {"title": "t"}, "project_id", "ann", 2),
    ("POST", "/tasks", {"title": "t"}, "project_id", "cy", 1),
    ("POST", "/people/1/tasks", {"title": "t"}, "project_id", "ann", 3),
    ("PATCH", "/tasks/1", {}, "project_id", "ann", 3),
    ("PATCH", "/tasks/1", {"title": "t"}, "project_id", "ann", 2),
    ("PUT", "/tasks/1", {"title": "t"}, "project_id", "ann", 4),
    ("POST", "/replies", {"text": "t"}, "draft_id", "ann", 2),
    ("PATCH", "/replies/1", {}, "draft_id", "ann", 2),
    ("PUT", "/replies/1", {"text": "t"}, "draft_id", "ann", 3),
    ("POST", "/replies", {"text": "t"}, "about_id", "ann", 1),
    ("POST", "/replies", {"text": "t"}, "about_id", "ann", 2),
    ("POST", "/taggings", {"label_id": 1, "hushed": False}, "task_id", "ann", 5),
    ("POST", "/tasks/1/project", {"title": "t"}, "project_id", "ann", 3),
]


@pytest.mark.parametrize(("method", "path", "body", "name", "who", "hidden"), HIDDEN)
async def test_a_reference_out_of_sight_is_one_to_nothing(
    desk: Api, method: str, path: str, body: dict[str, Any], name: str, who: str, hidden: int
) -> None:
    """Equal status, body, headers and number of statements; nothing is written."""
    before = await everything(desk)
    there = await desk.send(method, path, who=who, json=body | {name: hidden})
    nowhere = await desk.send(method, path, who=who, json=body | {name: ABSENT})
    assert there.status_code in (404, 409)
    assert told(there) == told(nowhere)
    if there.status_code == 409:
        assert there.json()["errors"] == [
            {"field": name, "code": "not_found", "message": "refers to a row that does not exist."}
        ]
    assert await everything(desk) == before


@pytest.mark.parametrize("parent", ["/projects/{}/tasks", "/drafts/{}/replies"])
@pytest.mark.parametrize("body", [{"title": "t"}, {"text": "t"}, {}, {"nosuch": 1}])
async def test_a_parent_out_of_sight_is_none(desk: Api, parent: str, body: dict[str, Any]) -> None:
    """A row is not created below a parent that one may not see, and good and bad bodies are refused alike."""
    for hidden in (2, 3, 4):
        there = await desk.send("POST", parent.format(hidden), who="ann", json=body)
        nowhere = await desk.send("POST", parent.format(ABSENT), who="ann", json=body)
        assert there.status_code == 404
        assert told(there, str(hidden)) == told(nowhere, str(ABSENT))


async def test_a_reference_in_sight_is_taken(desk: Api) -> None:
    """Also one that only the reference's own rule admits, and null."""
    assert (await desk.written("POST", "/tasks", {"title": "t", "project_id": 1}, who="ann", status=201))[
        "project_id"
    ]
    assert (await desk.written("PATCH", "/tasks/1", {"project_id": None}, who="ann"))["project_id"] is None
    row = await desk.written("POST", "/replies", {"text": "t", "draft_id": 1, "about_id": 3}, who="ann", status=201)
    assert (row["draft_id"], row["about_id"]) == (1, 3)
    row = await desk.written("PATCH", "/replies/2", {"text": "changed"}, who="ann")
    assert (row["text"], row["draft_id"]) == ("changed", 2)


async def test_a_reference_is_looked_at_where_something_else_is_wrong_too(desk: Api) -> None:
    """A value that is taken, or a row that may not be changed, is told of both alike."""
    for body in ({"title": "t", "assignee_id": ABSENT}, {"title": None}, {"title": "t", "effort": "x"}):
        there = await desk.send("POST", "/tasks", who="ann", json=body | {"project_id": 3})
        nowhere = await desk.send("POST", "/tasks", who="ann", json=body | {"project_id": ABSENT})
        assert told(there) == told(nowhere)
    there = await desk.send("PATCH", "/tasks/5", who="ann", json={"project_id": 3})
    nowhere = await desk.send("PATCH", "/tasks/5", who="ann", json={"project_id": ABSENT})
    assert there.status_code == 404
    assert told(there) == told(nowhere)


def told(response: "Response", key: str = "") -> tuple[int, str, dict[str, str]]:
    """All that an answer tells, but for what belongs to the request and its key."""
    headers = {name: OWN.sub("", value) for name, value in response.headers.items()}
    for name in ("x-request-id", "content-length"):
        headers.pop(name, None)
    body = OWN.sub("", response.text)
    return response.status_code, body.replace(f"'{key}'", "").replace(f"/{key}/", "/") if key else body, headers


async def everything(api: Api) -> list[Any]:
    """All tasks, replies and taggings that somebody sees."""
    lists = [("/tasks", "ann"), ("/tasks", "cy"), ("/replies", "ann"), ("/taggings", "ann")]
    return [await api.data(path, "sort=id", who=who) for path, who in lists]
