"""Tenants: nobody enters one without a membership, whatever they say it is; then how they are chosen."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay import Backstay, OperatorError
from backstay.testing import token
from support.asgi import SECRET, quiet
from support.databases import DATABASES
from support.people import Person, bearer_of
from support.tenants import FIRMS, Firm, Firms, Member, firms, tenants_app


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Firms]:
    """The app on each database."""
    with firms(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def ada(client: Firms) -> str:
    """Ada's credential: she owns the first firm, and is a clerk of the second."""
    credential = client.signed_in("ada@example.org")
    client.join(1, 1, "owner")
    client.join(1, 2, "clerk")
    return credential


def refusals(client: Firms, credential: str, names: list[str]) -> set[tuple[int, str, str]]:
    """What is answered to somebody who names tenants, but for what is of each request."""
    answers = [client.papers(credential, name) for name in names]
    return {(a.status, a.json["code"], a.json["detail"] + a.json["hint"]) for a in answers}


def test_a_tenant_that_is_not_theirs_is_as_one_that_is_not_there(client: Firms, ada: str) -> None:
    """By key or slug, with odd names too: one answer, with the same body and the same headers."""
    odd = ["0", "-1", "9" * 30, "x" * 500, "", " ", "%00", "1;drop", "\x00", "é", "None", "1.0", "01x", "OURS"]
    found = refusals(client, ada, ["3", "nobodys", "99", "nothing", *[name for name in odd if name]])
    assert len(found) == 1
    assert next(iter(found))[:2] == (404, "NOT_FOUND")
    foreign, missing = client.papers(ada, "nobodys"), client.papers(ada, "nothing")
    assert foreign.headers.keys() == missing.headers.keys()
    assert len(foreign.body) == len(missing.body)


def test_a_foreign_subdomain_is_refused_too(client: Firms, ada: str) -> None:
    """Whether it is a tenant or not."""
    for host in ("nobodys.papers.example", "nothing.papers.example", "nobodys.papers.example:8443"):
        assert client.papers(ada, host=host).status == 404


@pytest.mark.parametrize("host", ["ours.papers.example.evil", "papers.example", "a.ours.papers.example", "", "ours"])
def test_other_hosts_name_no_tenant(client: Firms, ada: str, host: str) -> None:
    """Only one label before the host of BACKSTAY_PUBLIC_URL is a tenant."""
    assert client.papers(ada, host=host).json["code"] == "TENANT_REQUIRED"


def test_anonymous_visits_nobody(client: Firms) -> None:
    """Neither header nor subdomain tells who is not signed in anything, not even what is public in a tenant."""
    answers = [client.papers(tenant=name) for name in ("1", "ours", "nothing")]
    answers += [client.papers(host=f"{name}.papers.example") for name in ("ours", "nothing")]
    assert {(a.status, a.json["code"]) for a in answers} == {(401, "UNAUTHENTICATED")}


@pytest.mark.parametrize("database", DATABASES)
def test_visitors_see_what_is_public(database: str, tmp_path: Path) -> None:
    """Where a program lets them; a tenant that is not there has nothing, and signed in they are no visitors."""
    with firms(database, tmp_path, visitors=True) as client:
        assert client.titles(host="ours.papers.example") == ["of 1"]
        assert client.titles(tenant="theirs") == ["of 2"]
        assert client.papers(host="nothing.papers.example").status == 401
        assert client.papers().status == 401
        assert client.post("/papers", {"title": "t"}, more=[(b"x-tenant", b"ours")]).status == 401
        ada = client.signed_in("ada@example.org")
        assert client.papers(ada, "ours").status == 404


def test_without_a_membership_there_is_no_tenant(client: Firms) -> None:
    """Who belongs nowhere is asked for one; what is no tenant's is there."""
    bob = client.signed_in("bob@example.org")
    assert (client.papers(bob).status, client.papers(bob).json["code"]) == (403, "TENANT_REQUIRED")
    assert client.me(bob).data["tenant"] is None
    assert client.get("/auth/tenants", credential=bob).data == []
    assert client.get("/auth/tenants").status == 401


def test_sign_in_picks_the_only_tenant(client: Firms, ada: str) -> None:
    """Of several, none."""
    client.signed_in("bob@example.org")
    client.join(2, 2, "clerk")
    bob = bearer_of(client.login("bob@example.org"))
    assert client.titles(bob) == ["of 2"]
    assert client.me(bob).data | {"tenant": 2, "roles": ["clerk"], "permissions": []} == client.me(bob).data
    assert client.papers(bearer_of(client.login("ada@example.org"))).json["code"] == "TENANT_REQUIRED"


def test_header_and_subdomain_choose_for_one_request(client: Firms, ada: str) -> None:
    """By key or slug; the header wins, and the session stays where it is."""
    assert client.titles(ada, "1") == client.titles(ada, "ours") == ["of 1"]
    assert client.titles(ada, "2") == client.titles(ada, host="theirs.papers.example") == ["of 2"]
    assert client.titles(ada, "ours", host="theirs.papers.example") == ["of 1"]
    assert client.papers(ada).json["code"] == "TENANT_REQUIRED"
    assert client.choose(ada, "theirs").status == 200
    assert client.titles(ada) == ["of 2"]
    assert client.titles(ada, "ours") == ["of 1"]
    assert client.titles(ada) == ["of 2"]


def test_the_role_holds_in_its_tenant_alone(client: Firms, ada: str) -> None:
    """An owner here is a clerk there; nothing crosses."""
    here, there = [(b"x-tenant", b"ours")], [(b"x-tenant", b"theirs")]
    assert client.request("DELETE", "/papers/2", credential=ada, more=there).status == 403
    assert client.request("DELETE", "/papers/2", credential=ada, more=here).status == 404
    assert client.request("DELETE", "/papers/1", credential=ada, more=there).status == 403
    assert client.request("DELETE", "/papers/1", credential=ada, more=here).status == 204
    made = client.post("/papers", {"title": "new"}, credential=ada, more=there)
    assert (made.status, made.data["tenant_id"]) == (201, 2)
    assert client.post("/papers", {"title": "t", "tenant_id": 1}, credential=ada, more=there).status == 400


def test_a_role_that_no_membership_gives_gives_nothing(client: Firms) -> None:
    """An owner who writes `superuser` into a membership is none."""
    ada = client.signed_in("ada@example.org")
    client.join(1, 1, "superuser")
    more = [(b"x-tenant", b"ours")]
    assert client.get("/auth/me", credential=ada, more=more).data["roles"] == []
    assert client.request("PATCH", "/papers/1", body={"title": "x"}, credential=ada, more=more).status == 403
    assert client.titles(ada, "ours") == ["of 1"]


@pytest.mark.parametrize("tenant", ["nobodys", 3, "99", 10**30, "", "x" * 300])
def test_a_session_cannot_be_used_for_a_foreign_tenant(client: Firms, ada: str, tenant: str | int) -> None:
    """And stays where it was."""
    client.choose(ada, "ours")
    assert client.choose(ada, tenant).status in (400, 404)
    assert client.titles(ada) == ["of 1"]


@pytest.mark.parametrize("body", [{}, {"tenant": []}, {"tenant": "ours", "role": "owner"}, {"tenant": True}])
def test_bad_choices_are_refused(client: Firms, ada: str, body: dict[str, object]) -> None:
    """With 400, whatever they are."""
    assert client.post("/auth/tenant", body, credential=ada).status == 400


def test_switching(client: Firms, ada: str) -> None:
    """The session moves, at once; none is a choice too, and the list says where it is."""
    assert client.choose(ada, "ours").data == {"tenant": 1, "slug": "ours", "role": "owner", "current": True}
    assert client.titles(ada) == ["of 1"]
    assert client.choose(ada, 2).data["slug"] == "theirs"
    assert client.titles(ada) == ["of 2"]
    listed = client.get("/auth/tenants", credential=ada).data
    assert [(t["slug"], t["role"], t["current"]) for t in listed] == [
        ("ours", "owner", False),
        ("theirs", "clerk", True),
    ]
    assert client.choose(ada, None).json == {"data": None}
    assert client.papers(ada).json["code"] == "TENANT_REQUIRED"
    assert client.choose("", "ours").status == 401
    assert [event.details["tenant"] for event in client.events("tenant_change")] == ["1", "2", "none"]


def test_a_removed_member_is_out_at_once(client: Firms, ada: str) -> None:
    """However the tenant was chosen, and whoever removed them: a program here, the API below."""
    client.choose(ada, "ours")
    assert client.titles(ada) == client.titles(ada, "ours") == ["of 1"]
    client.leave(1, 1)
    assert client.papers(ada, "ours").status == 404
    assert client.papers(ada).json["code"] == "TENANT_REQUIRED"
    assert client.titles(ada, "theirs") == ["of 2"]


def test_a_membership_changed_through_the_api_holds_at_once(client: Firms, ada: str) -> None:
    """Another role, and then none, for who was known a moment ago."""
    bob = client.signed_in("bob@example.org")
    owner = [(b"x-tenant", b"ours")]
    made = client.post("/members", {"user_id": 2, "role": "owner"}, credential=ada, more=owner)
    assert (made.status, made.data["tenant_id"]) == (201, 1)
    path = f"/members/{made.data['id']}"
    assert client.get("/auth/me", credential=bob, more=owner).data["permissions"] == ["papers.shred"]
    assert client.request("PATCH", path, body={"role": "clerk"}, credential=ada, more=owner).status == 200
    assert client.get("/auth/me", credential=bob, more=owner).data["roles"] == ["clerk"]
    assert client.request("DELETE", "/papers/1", credential=bob, more=owner).status == 403
    assert client.request("DELETE", path, credential=ada, more=owner).status == 204
    assert client.papers(bob, "ours").status == 404


@pytest.mark.parametrize("database", DATABASES)
def test_a_removed_member_is_out_in_other_processes(database: str, tmp_path: Path) -> None:
    """One process knows the membership, the other ends it: within the interval of looking, it is over."""
    with firms(database, tmp_path, revocation_check_ms=0) as here:
        ada = here.signed_in("ada@example.org")
        here.join(1, 1, "owner")
        other = Firms(tenants_app(here.app.config.database_url, revocation_check_ms=0))
        with other as there:
            assert there.titles(ada, "ours") == ["of 1"]
            here.leave(1, 1)
            assert there.papers(ada, "ours").status == 404


def test_a_deleted_tenant_has_no_members(client: Firms, ada: str) -> None:
    """Softly deleted, through the API."""
    assert client.titles(ada, "ours") == ["of 1"]
    assert client.request("DELETE", "/firms/1", credential=ada, more=[(b"x-tenant", b"ours")]).status == 204
    assert client.papers(ada, "ours").status == 404
    assert [t["slug"] for t in client.get("/auth/tenants", credential=ada).data] == ["theirs"]


def test_a_known_member_costs_no_statement(client: Firms, ada: str) -> None:
    """The membership is looked up once; each chosen tenant is kept apart."""
    for name in ("ours", "theirs", "ours", "theirs"):
        assert client.titles(ada, name) == [f"of {1 if name == 'ours' else 2}"]
    tenancy = client.accounts().tenancy
    principal = next(iter(tenancy._known))[0]
    assert {name for _, name in tenancy._known} == {"ours", "theirs"}
    assert tenancy.known(principal, "ours").tenant == 1
    assert tenancy.known(principal, "theirs").roles == {"clerk"}


def test_the_operators_token_is_for_its_tenant(client: Firms, ada: str) -> None:
    """It needs no membership, and names no other tenant; without one it acts as its user."""
    credential = "Bearer " + token(7, tenant=3, secret=SECRET)
    assert client.titles(credential) == client.titles(credential, "3") == ["of 3"]
    assert client.papers(credential, "1").status == 404
    plain = "Bearer " + token(1, secret=SECRET)
    assert client.titles(plain, "ours") == ["of 1"]
    assert client.papers(plain, "nobodys").status == 404
    assert client.papers("Bearer " + token("ada", secret=SECRET), "ours").status == 404


def test_everybody_can_sign_out_wherever_they_are(client: Firms, ada: str) -> None:
    """A foreign tenant is no tenant below /auth."""
    more = [(b"x-tenant", b"nobodys")]
    assert client.get("/auth/me", credential=ada, more=more).data["tenant"] is None
    assert client.post("/auth/logout", {}, credential=ada, more=more).status == 204


@pytest.mark.parametrize("database", DATABASES)
def test_ways_that_are_off_choose_nothing(database: str, tmp_path: Path) -> None:
    """A header that nobody asked for is no header."""
    with firms(database, tmp_path, by=("token",)) as client:
        ada = client.signed_in("ada@example.org")
        client.join(1, 1, "owner")
        assert client.papers(ada, "ours", host="ours.papers.example").json["code"] == "TENANT_REQUIRED"
        client.choose(ada, "ours")
        assert client.titles(ada, "nobodys") == ["of 1"]


def test_mistakes_of_a_program(tmp_path: Path) -> None:
    """Each is told with what is missing."""
    app = Backstay("x", config=quiet(FIRMS.own("sqlite", tmp_path)))
    with pytest.raises(OperatorError, match=r"call app.accounts\(User\) first"):
        app.tenants(Firm, members=Member)
    app.accounts(Person)
    with pytest.raises(OperatorError, match="members must have one foreign key to the users; it has 0"):
        app.tenants(Firm, members=Member)
    own = tenants_app(FIRMS.own("sqlite", tmp_path))
    with pytest.raises(OperatorError, match="need a slug"):
        own.tenants(Firm, members=Member, by=["subdomain"])
    with pytest.raises(OperatorError, match="firms must have one foreign key"):
        own.tenants(Firm, members=Firm)
    with pytest.raises(OperatorError, match="takes models"):
        own.tenants(Backstay, members=Member)
    assert sa.inspect(Member).columns.role is not None
