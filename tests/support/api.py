"""What conformance tests say to the API: reads that took one statement, and refusals that name their field."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backstay.testing import statements, token
from support.twins import same_text
from support.world import SECRET

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

BASE = "/api/v1"
#: Principals by name; their ids are those of the seeded users.
WHO: dict[str, dict[str, str]] = {
    name: {"authorization": f"Bearer {token(subject, roles, secret=SECRET)}"}
    for name, subject, roles in (
        ("ada", 1, ()),
        ("bob", 2, ()),
        ("chloé", 3, ()),
        ("admin", 900, ("admin",)),
        ("nobody", "not a number", ("unknown role",)),
    )
} | {"": {}}


class Api:
    """Requests to one app; `who` is a name in `WHO`, anonymous by default.

    Args:
        twin: the same app over another database; it is sent whatever this one is, and must answer the same.
            Validators are of bytes, and those of a JSON column's value differ.
        people: headers of principals by name.
        base: what comes before every path.
    """

    def __init__(
        self,
        http: "AsyncClient",
        twin: "AsyncClient | None" = None,
        people: Mapping[str, dict[str, str]] | None = None,
        base: str = BASE,
    ) -> None:
        self.http = http
        self.base = base
        self.people = WHO if people is None else people
        self._twin = twin

    async def send(self, method: str, path: str, query: str = "", *, who: str = "", **options: Any) -> "Response":
        """One request; no answer is ever a failure of ours."""
        url = self.base + path + (f"?{query}" if query else "")
        headers = self.people[who] | options.pop("headers", {})
        response = await self.http.request(method, url, headers=headers, **options)
        assert response.status_code < 500, f"{method} {url}: {response.text}"
        if self._twin is not None and headers.get("if-none-match", "*") == "*":
            other = await self._twin.request(method, url, headers=headers, **options)
            assert same_text(response.content) == same_text(other.content), f"{method} {url}"
            assert response.status_code == other.status_code
        return response

    async def read(self, path: str, query: str = "", *, who: str = "") -> Any:
        """The whole body of a read that succeeds with one statement."""
        response = await self.send("GET", path, query, who=who)
        assert response.status_code == 200, f"{path}?{query}: {response.text}"
        assert statements(response) == 1, f"{path}?{query} took {statements(response)} statements"
        return response.json()

    async def data(self, path: str, query: str = "", *, who: str = "") -> Any:
        """The data of a read."""
        return (await self.read(path, query, who=who))["data"]

    async def ids(self, path: str, query: str = "", *, who: str = "", key: str = "id") -> list[Any]:
        """The keys of a list, in order."""
        query = f"{query}&fields={key}" if query else f"fields={key}"
        return [row[key] for row in await self.data(path, query, who=who)]

    async def refused(self, path: str, query: str = "", *, status: int = 400, **options: Any) -> Any:
        """The problem of a `GET` that is refused."""
        return problem_of(await self.send(options.pop("method", "GET"), path, query, **options), status)

    async def written(self, method: str, path: str, body: Any, *, who: str = "", status: int = 200) -> Any:
        """The row that a write answers."""
        response = await self.send(method, path, who=who, json=body)
        assert response.status_code == status, f"{method} {path}: {response.text}"
        return response.json()["data"]


def problem_of(response: "Response", status: int) -> Any:
    """The problem details of a refusal, which are complete."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert set(problem) == {
        *("type", "title", "status", "detail", "instance", "code", "errors", "hint", "request_id", "timestamp")
    }
    assert problem["hint"]
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def fields_of(problem: Any) -> list[str]:
    """The fields that a problem names."""
    return [error["field"] for error in problem["errors"]]
