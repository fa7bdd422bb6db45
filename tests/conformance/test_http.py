"""HTTP: validators, links, methods, media types and the headers of every answer."""

import re

import pytest

from backstay.testing import statements
from support.api import Api, problem_of

pytestmark = pytest.mark.anyio

READS = [
    "/games",
    "/games?cursor=",
    "/games?count=false",
    "/games/tetris",
    "/games/tetris?include=scores.player",
    "/games/tetris/scores",
    "/scores/aggregate?group=game_id&select=count",
    "/settings/theme",
]
METHODS = [
    ("/games", "GET, POST, PATCH, DELETE, HEAD"),
    ("/games/tetris", "DELETE, GET, PATCH, PUT, HEAD"),
    ("/games/tetris/scores", "GET, POST, HEAD"),
    ("/games/tetris/tags", "GET, HEAD"),
    ("/games/aggregate", "GET, HEAD"),
    ("/members", "GET, HEAD"),
    ("/members/1", "GET, HEAD"),
    ("/payments/1", "GET, HEAD"),
    ("/comments/1", "GET, PATCH, PUT, HEAD"),
]


@pytest.mark.parametrize(("path", "allow"), METHODS)
async def test_a_method_that_nothing_answers_is_405(api: Api, path: str, allow: str) -> None:
    """With the methods that are, for each of the others."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW"):
        if method in allow:
            continue
        response = await api.send(method, path, who="admin")
        problem_of(response, 405)
        assert sorted(response.headers["allow"].split(", ")) == sorted(allow.split(", "))


@pytest.mark.parametrize("accept", ["text/html", "application/xml, text/plain;q=0.5", "image/*"])
async def test_what_is_not_json_cannot_be_had(api: Api, accept: str) -> None:
    """406, as a problem all the same."""
    for path in ("/games", "/games/tetris", "/nope"):
        problem_of(await api.send("GET", path, headers={"accept": accept}), 406)


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "application/*", "text/html, application/json;q=0.1", "APPLICATION/JSON"],
)
async def test_json_can_be_had_by_many_names(api: Api, accept: str) -> None:
    """Wildcards, lists with weights, any case."""
    response = await api.send("GET", "/games/tetris", headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "media",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonp",
        "json",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
    ],
)
async def test_a_body_that_is_not_called_json_is_415(fresh: Api, media: str) -> None:
    """Whatever it holds."""
    for method, path in (("POST", "/games"), ("PATCH", "/games/tetris"), ("PUT", "/games/tetris")):
        headers = {"content-type": media}
        body = b'{"slug": "x", "name": "y"}'
        response = await fresh.send(method, path, who="admin", headers=headers, content=body)
        problem_of(response, 415)


@pytest.mark.parametrize(
    "media",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        'application/json;charset="UTF-8"',
        "application/merge-patch+json",
        "application/vnd.api+json",
    ],
)
async def test_json_has_many_names(fresh: Api, media: str) -> None:
    """With its charset, in any case, and its derived types."""
    response = await fresh.send(
        "PATCH", "/games/tetris", who="admin", headers={"content-type": media}, content=b'{"name": "y"}'
    )
    assert response.status_code == 200


@pytest.mark.parametrize("url", READS)
async def test_a_validator_spares_the_body(api: Api, url: str) -> None:
    """The same ETag for the same answer; If-None-Match with it, weak or in a list, or *, is 304 without a body."""
    path, _, query = url.partition("?")
    first = await api.send("GET", path, query)
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[\w-]+"', etag)
    for wanted in (etag, f"W/{etag}", f'"other", {etag}', "*", f" {etag} "):
        again = await api.send("GET", path, query, headers={"if-none-match": wanted})
        assert (again.status_code, again.content) == (304, b""), wanted
        assert again.headers["etag"] == etag
        assert statements(again) == 1
    for wanted in ('"other"', "", etag.strip('"'), '""'):
        again = await api.send("GET", path, query, headers={"if-none-match": wanted})
        assert again.status_code == 200
        assert again.content == first.content


async def test_a_validator_changes_with_the_answer(fresh: Api) -> None:
    """A write to the row or to an included one; another shape has another validator."""

    async def etag(query: str = "") -> str:
        return (await fresh.send("GET", "/games/pong", query)).headers["etag"]

    plain, shaped = await etag(), await etag("include=scores")
    assert plain != shaped
    await fresh.written("PATCH", "/scores/5", {"value": 8}, who="bob")
    assert await etag() == plain
    assert await etag("include=scores") != shaped
    await fresh.written("PATCH", "/games/pong", {"price": "1.00"}, who="admin")
    assert await etag() != plain


@pytest.mark.parametrize("url", READS)
async def test_head_is_get_without_the_body(api: Api, url: str) -> None:
    """The same status and headers, the body's length included."""
    path, _, query = url.partition("?")
    get, head = await api.send("GET", path, query), await api.send("HEAD", path, query)
    assert (head.status_code, head.content) == (200, b"")
    varying = ("x-request-id", "server-timing")
    assert {k: v for k, v in head.headers.items() if k not in varying} == {
        k: v for k, v in get.headers.items() if k not in varying
    }
    assert head.headers["content-length"] == str(len(get.content))
    assert statements(head) == 1


async def test_head_of_what_is_not_there_is_404(api: Api) -> None:
    """Without a body."""
    response = await api.send("HEAD", "/games/nope")
    assert (response.status_code, response.content) == (404, b"")


#: (query, links by rel: the page of each)
LINKS = [
    ("", {}),
    ("limit=4", {"first": "1", "next": "2", "last": "3"}),
    ("limit=4&page=2", {"first": "1", "prev": "1", "next": "3", "last": "3"}),
    ("limit=4&page=3", {"first": "1", "prev": "2", "last": "3"}),
    ("limit=4&count=false", {"first": "1", "next": "2"}),
    ("limit=4&count=false&page=3", {"first": "1", "prev": "2"}),
]


def links_of(header: str) -> dict[str, str]:
    """Targets by rel."""
    return {rel: target for target, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', header)}


@pytest.mark.parametrize(("query", "pages"), LINKS)
async def test_pages_are_linked(api: Api, query: str, pages: dict[str, str]) -> None:
    """Each link is the request's own URL with another page, and leads there."""
    response = await api.send("GET", "/scores", query)
    links = links_of(response.headers.get("link", ""))
    assert {rel: re.findall(r"[?&]page=(\d+)", target)[0] for rel, target in links.items()} == pages
    for target in links.values():
        assert "limit=4" in target
        assert (await api.http.get(target)).status_code == 200


async def test_cursors_are_linked(api: Api) -> None:
    """The links hold the meta's cursors and everything else that was asked for."""
    query = "value[gte]=10&note[contains]=%25&sort=-value&limit=1&fields=id"
    response = await api.send("GET", "/scores", f"{query}&cursor=")
    assert "link" not in response.headers
    query = "or=(value=100,note=%22a_b%22)&sort=-value,id&limit=2&fields=id"
    first = await api.send("GET", "/scores", f"cursor=&{query}")
    links = links_of(first.headers["link"])
    assert set(links) == {"next"}
    second = await api.http.get(links["next"])
    assert [row["id"] for row in second.json()["data"]] == [7, 10]
    back = await api.http.get(links_of(second.headers["link"])["prev"])
    assert back.json()["data"] == first.json()["data"]


async def test_links_keep_what_a_url_must_escape(api: Api) -> None:
    """A query with encoded text leads to its next page."""
    query = "or=(name[is]=null,name[ne]=%22%C3%A9%20%26%20%3E%22)&limit=2"
    response = await api.send("GET", "/users", query)
    following = await api.http.get(links_of(response.headers["link"])["next"])
    assert [row["id"] for row in following.json()["data"]] == [3, 4]


async def test_every_answer_has_the_frames_headers(api: Api) -> None:
    """A request id, timings with the number of statements, and no sniffing; refusals too."""
    for path, count in (("/games", 1), ("/games/tetris", 1), ("/games/nope", 1), ("/nope", 0), ("/games?x=1", 0)):
        response = await api.http.get(f"/api/v1{path}")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", response.headers["x-request-id"])
        assert statements(response) == count
        assert re.match(r"db;dur=\d+\.\d{3}, app;dur=\d+\.\d{3}, ", response.headers["server-timing"])


async def test_a_request_id_is_kept_if_it_is_one(api: Api) -> None:
    """A well-formed id comes back; another is replaced."""
    for given in ("abc-1.2:3/4+5=", "x" * 128):
        response = await api.send("GET", "/games", headers={"x-request-id": given})
        assert response.headers["x-request-id"] == given
    for given in ("", "a b", "x" * 129, 'a"b', "<script>"):
        response = await api.send("GET", "/games", headers={"x-request-id": given})
        assert response.headers["x-request-id"] != given


@pytest.mark.parametrize(
    "credential", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer x.y.z", "Bearer " + "x" * 5000, "bearer null", "x"]
)
async def test_a_credential_that_is_none_is_401(api: Api, credential: str) -> None:
    """Even where anybody may read: a caller who names themselves wrongly is told."""
    response = await api.send("GET", "/games", headers={"authorization": credential})
    problem_of(response, 401)
    assert response.headers["www-authenticate"].startswith("Bearer")
