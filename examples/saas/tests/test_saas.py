"""The SaaS example as its README serves it, on both databases; invitations are good once, and nothing crosses."""

import json
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from support.asgi import sync_engine
from support.databases import DATABASES
from support.documents import ROOT, Walk, copied
from support.postgres import fresh_database

APP = ROOT / "examples/saas/app.py"
PASSWORD = "a password of nobody's"


@dataclass
class Saas:
    """The served example."""

    walk: Walk
    url: str

    def call(self, method: str, path: str, body: Any = None, *, token: str = "", tenant: str = "") -> tuple[int, Any]:
        """Status and JSON of one request."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"X-Tenant": tenant} if tenant else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.walk.base}/api/v1{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as refused:
            with refused as answer:
                return answer.code, json.load(answer)

    def sign_up(self, email: str) -> str:
        """A new account's access token."""
        status, answer = self.call("POST", "/auth/register", {"email": email, "password": PASSWORD})
        assert status == 201, answer
        return answer["data"]["access_token"]

    def found(self, slug: str, token: str) -> None:
        """A new organisation."""
        status, answer = self.call("POST", "/organizations", {"slug": slug, "name": slug.title()}, token=token)
        assert status == 201, answer

    def invite(self, email: str, role: str, token: str, tenant: str) -> tuple[int, str]:
        """The status of an invitation, and the code in its mail."""
        status, _ = self.call("POST", "/invitations", {"email": email, "role": role}, token=token, tenant=tenant)
        outbox = self.walk.folder / "outbox.txt"
        said = outbox.read_text().split("with the code ") if outbox.exists() else []
        return status, said[-1].strip() if said else ""

    def accept(self, code: str, token: str) -> int:
        """The status of an acceptance."""
        return self.call("POST", "/invitations/accept", {"token": code}, token=token)[0]

    def run(self, statement: str) -> None:
        """Change the database behind the server's back."""
        engine = sync_engine(self.url)
        with engine.begin() as connection:
            connection.execute(sa.text(statement))
        engine.dispose()


@pytest.fixture(scope="module", params=DATABASES)
def saas(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saas]:
    """A served copy, with its README walked through."""
    if not shutil.which("curl"):
        pytest.fail("the README's commands need curl")
    root = tmp_path_factory.mktemp("clone")
    copied("saas", root / "examples/saas")
    url = f"sqlite:///{root / 'saas.db'}" if request.param == "sqlite" else fresh_database()
    environment = {
        "BACKSTAY_DATABASE_URL": url,
        "BACKSTAY_RATE_LIMIT": "off",
        "BIN": str(Path(sys.executable).parent),
    }
    with Walk(root, skip={"backstay db reset": "the tests below go on"}, environment=environment) as walk:
        walk.page(APP.parent / "README.md")
        yield Saas(walk, url)


def test_it_is_short() -> None:
    """The showcase fits into 200 lines."""
    assert len(APP.read_text(encoding="utf-8").splitlines()) <= 200


def test_outsiders_see_nothing(saas: Saas) -> None:
    """Every resource, with the tenant named or not, by list and by key."""
    ada, eve = saas.sign_up("ada@saas.example"), saas.sign_up("eve@saas.example")
    saas.found("analytical", ada)
    saas.found("evil", eve)
    project = saas.call("POST", "/projects", {"name": "Engine"}, token=ada, tenant="analytical")[1]["data"]
    task = {"project_id": project["id"], "title": "Plan"}
    assert saas.call("POST", "/tasks", task, token=ada, tenant="analytical")[0] == 201
    for name in ("projects", "tasks", "memberships", "invitations", "users", "profiles", "organizations"):
        assert saas.call("GET", f"/{name}", token=eve, tenant="analytical")[0] == 404
        mine = saas.call("GET", f"/{name}", token=eve, tenant="evil")[1]["data"]
        assert {row.get("tenant_id", row.get("id")) for row in mine}.isdisjoint({project["tenant_id"]})
    assert saas.call("GET", f"/projects/{project['id']}", token=eve, tenant="evil")[0] == 404
    assert saas.call("PATCH", f"/projects/{project['id']}", {"name": "x"}, token=eve, tenant="evil")[0] == 404
    assert saas.call("POST", "/tasks", task, token=eve, tenant="evil")[0] in (400, 409)
    assert saas.call("GET", "/organizations/analytical", token=eve, tenant="evil")[0] == 404


@pytest.mark.parametrize("role", ["member", "admin", "owner"])
def test_who_may_invite_whom(saas: Saas, role: str) -> None:
    """Members invite nobody, and no admin makes an owner."""
    boss, other = saas.sign_up(f"boss-{role}@saas.example"), saas.sign_up(f"{role}@saas.example")
    saas.found(f"firm-{role}", boss)
    status, code = saas.invite(f"{role}@saas.example", role, boss, f"firm-{role}")
    assert (status, saas.accept(code, other)) == (202, 201)
    allowed = {"member": (), "admin": ("member", "admin"), "owner": ("member", "admin", "owner")}[role]
    for wanted in ("member", "admin", "owner"):
        status, _ = saas.invite("new@saas.example", wanted, other, f"firm-{role}")
        assert status == (202 if wanted in allowed else 403)
    assert saas.invite("new@saas.example", "member", "", f"firm-{role}")[0] == 401
    assert saas.invite("new@saas.example", "chief", boss, f"firm-{role}")[0] == 400
    assert saas.invite("no\x00@saas.example", "member", boss, f"firm-{role}")[0] == 400


def test_an_invitation_is_good_once_and_for_a_week(saas: Saas) -> None:
    """Spent, late, unknown: one answer; the hash of its code is shown to nobody."""
    boss = saas.sign_up("once@saas.example")
    first, second = saas.sign_up("first@saas.example"), saas.sign_up("second@saas.example")
    saas.found("once", boss)
    _, code = saas.invite("first@saas.example", "member", boss, "once")
    assert saas.accept(code, "") == 401
    assert saas.accept(code, boss) == 409
    assert saas.accept(code, first) == 201
    assert saas.accept(code, second) == 404
    assert saas.accept("unknown", second) == 404
    _, late = saas.invite("second@saas.example", "member", boss, "once")
    saas.run("UPDATE invitations SET expires_at = '2026-01-01T00:00:00.000000+00:00' WHERE accepted_at IS NULL")
    assert saas.accept(late, second) == 404
    shown = saas.call("GET", "/invitations", token=boss, tenant="once")[1]["data"]
    assert len(shown) == 2
    assert all("token_hash" not in row for row in shown)


def test_members_come_and_go(saas: Saas) -> None:
    """An admin removes members and no owner; whoever is removed is out at once."""
    boss, admin, gone = (saas.sign_up(f"{name}@go.example") for name in ("boss", "admin", "gone"))
    saas.found("go", boss)
    for name, role, token in (("admin", "admin", admin), ("gone", "member", gone)):
        assert saas.accept(saas.invite(f"{name}@go.example", role, boss, "go")[1], token) == 201
    rows = saas.call("GET", "/memberships?include=user", token=admin, tenant="go")[1]["data"]
    keys = {row["user"]["email"]: row["id"] for row in rows}
    assert saas.call("GET", "/projects", token=gone, tenant="go")[0] == 200
    assert saas.call("DELETE", f"/memberships/{keys['boss@go.example']}", token=admin, tenant="go")[0] == 403
    own = f"/memberships/{keys['admin@go.example']}"
    assert saas.call("PATCH", own, {"role": "owner"}, token=admin, tenant="go")[0] == 403
    assert saas.call("PATCH", own, {"user_id": 1}, token=boss, tenant="go")[0] == 400
    assert saas.call("DELETE", f"/memberships/{keys['gone@go.example']}", token=admin, tenant="go")[0] == 204
    assert saas.call("GET", "/projects", token=gone, tenant="go")[0] == 404


def test_users_are_listed_to_their_own_organisation(saas: Saas) -> None:
    """With profiles, a page at a time; without an organisation, oneself."""
    assert saas.call("GET", "/users?page=1&limit=10&include=profile")[0] == 401
    assert saas.call("GET", "/users?page=0&limit=1000", token=saas.sign_up("bad@saas.example"))[0] == 400
    boss, other = saas.sign_up("boss@list.example"), saas.sign_up("other@list.example")
    saas.found("list", boss)
    assert saas.accept(saas.invite("other@list.example", "member", boss, "list")[1], other) == 201
    listed = saas.call("GET", "/users?page=1&limit=10&include=profile", token=other, tenant="list")[1]
    assert (len(listed["data"]), listed["meta"]["total"]) == (2, 2)
    assert {row["email"] for row in listed["data"]} == {None, "other@list.example"}
    assert all("password_hash" not in row for row in listed["data"])
    to_boss = saas.call("GET", "/users?include=profile", token=boss, tenant="list")[1]["data"]
    assert {row["email"] for row in to_boss} == {"boss@list.example", "other@list.example"}
    guessed = saas.call("GET", "/users?email=boss@list.example", token=other, tenant="list")[1]
    assert guessed["meta"]["total"] == 0
    assert saas.call("POST", "/auth/tenant", {"tenant": None}, token=other)[0] == 200
    assert [row["email"] for row in saas.call("GET", "/users", token=other)[1]["data"]] == ["other@list.example"]


def test_projects_and_tasks_are_deleted_softly(saas: Saas) -> None:
    """And come back, for who may."""
    boss = saas.sign_up("soft@saas.example")
    saas.found("soft", boss)
    made = saas.call("POST", "/projects", {"name": "Ice"}, token=boss, tenant="soft")[1]["data"]
    path = f"/projects/{made['id']}"
    assert saas.call("DELETE", path, token=boss, tenant="soft")[0] == 204
    assert saas.call("GET", path, token=boss, tenant="soft")[0] == 404
    assert saas.call("POST", f"{path}/restore", token=boss, tenant="soft")[0] == 200
    assert saas.call("GET", path, token=boss, tenant="soft")[0] == 200


def test_the_seeded_sign_in(saas: Saas) -> None:
    """Two organisations, whose people share a password; who belongs to one is in it."""
    saas.walk.shell("backstay db reset examples/saas/app.py --yes")
    answer = saas.call("POST", "/auth/login", {"login": "ada", "password": "correct horse battery staple"})[1]
    token = answer["data"]["access_token"]
    assert [row["name"] for row in saas.call("GET", "/projects", token=token)[1]["data"]] == [
        "Difference Engine",
        "Notes on the Engine",
    ]
    people = saas.call("GET", "/users?include=profile&sort=username", token=token)[1]["data"]
    assert [row["profile"]["name"] for row in people] == ["Ada Lovelace", "Charles Babbage", "Mary Somerville"]
