"""`backstay auth`: what it refuses and prints, and that a serving process hears of it; on both databases."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import OperatorError
from support.asgi import SECRET, Answer, sync_engine
from support.commands import Ran, ran
from support.databases import DATABASES
from support.people import PASSWORD, PEOPLE, Base, People, bearer_of, people_app

APP = """
import sys
from support.people import people_app
app = people_app({url!r})
"""


Run = Callable[..., Ran]


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with the tables, and a folder with an app over it."""
    made = PEOPLE.own(request.param, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("BACKSTAY_DATABASE_URL", raising=False)
    (tmp_path / "app.py").write_text(APP.format(url=made))
    return made


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs `backstay auth`; `typed` is what is piped in."""

    def run(*arguments: str, typed: str = "") -> Ran:
        return ran(["auth", *arguments], monkeypatch, capsys, typed)

    yield run
    sys.modules.pop("app", None)


class Settled(People):
    """Has nothing left to write when a command runs."""

    def request(self, method: str, path: str, query: Any = (), **options: Any) -> Answer:
        """One request."""
        answer = super().request(method, path, query, **options)
        self.settle()
        return answer


@pytest.fixture
def client(url: str) -> Iterator[People]:
    """A process that serves the same database."""
    with Settled(people_app(url)) as opened:
        yield opened


def test_mistakes_are_one_line_that_names_the_mend(run: Run, client: People) -> None:
    """And nothing is changed by them."""
    client.register("ada@example.org", username="ada")
    for arguments, typed, said in (
        (("grant", "adda", "admin"), "", "There is no user 'adda'. Perhaps you meant 'ada'."),
        (("grant", "ada@example.com", "admin"), "", "Perhaps you meant 'ada@example.org'."),
        (("grant", "99999999999999999999", "admin"), "", "There is no user '99999999999999999999'."),
        (
            ("grant", "ada", "amin"),
            "",
            "no role 'amin'. Perhaps you meant 'admin'. Make it: backstay auth role amin",
        ),
        (("user", "create", "ada", "--password-stdin"), PASSWORD, "'ada' is not an e-mail address."),
        (("user", "create", "ada@example.org", "--password-stdin"), PASSWORD, "is taken by another user."),
        (("user", "create", "bob@example.org", "--password-stdin"), "password1", "most common passwords"),
        (("user", "create", "bob@example.org"), "", "pipe it in with --password-stdin"),
        (("user", "disable", "nobody"), "", "There is no user 'nobody'."),
    ):
        ran = run(*arguments, typed=typed)
        assert ran.code == 2, arguments
        assert ran.err.startswith("error: "), arguments
        assert said in ran.err, ran.err
        assert ran.err.count("\n") == 1, ran.err
    assert len(client.get("/people").data) == 1
    assert run("roles").out == ""


def test_an_app_without_accounts_has_none(run: Run, tmp_path: Path) -> None:
    """It says what to call."""
    text = (tmp_path / "app.py").read_text()
    (tmp_path / "app.py").write_text(text + "app._accounts = None\n")
    assert "app.accounts(User)" in run("roles").err


def test_a_database_without_the_tables(run: Run, url: str) -> None:
    """The command that makes them is named."""
    engine, table = sync_engine(url), Base.metadata.tables["auth_attempts"]
    table.drop(engine)
    assert "backstay db migrate" in run("roles").err
    table.create(engine)
    engine.dispose()


def test_users_are_made_and_signed_out_and_disabled(run: Run, client: People) -> None:
    """Their password is read, never an argument; a serving process hears of everything."""
    made = run(
        "user",
        "create",
        "Ada@Example.org",
        "--username",
        "ada",
        "--role",
        "admin",
        "--password-stdin",
        typed=PASSWORD,
    )
    assert (made.code, made.out) == (0, "made user 1\n")
    credential = bearer_of(client.login("ada"))
    shown = client.me(credential).data
    assert (shown["email"], shown["roles"]) == ("ada@example.org", ["admin"])
    assert shown["email_verified_at"] is not None
    assert run("user", "logout", "ada@example.org").out == "ada@example.org is signed out everywhere\n"
    client.accounts().revocations.expire()
    assert client.me(credential).status == 401
    credential = bearer_of(client.login("ada"))
    assert run("user", "disable", "1").out == "1 is disabled\n"
    client.accounts().revocations.expire()
    assert client.me(credential).status == 401
    assert client.login("ada").status == 401
    run("user", "enable", "ada")
    assert client.login("ada").status == 200


def test_roles_are_given_and_taken(run: Run, client: People) -> None:
    """Those that a rule names need no making; others are made, with what they permit."""
    credential = client.signed_in("ada@example.org")
    assert run("grant", "ada@example.org", "admin").out == "ada@example.org has now the role admin\n"
    assert run("grant", "ada@example.org", "admin").out == "ada@example.org had already the role admin\n"
    assert run("role", "moderator", "--permission", "notes.moderate").out == "moderator: notes.moderate\n"
    run("grant", "1", "moderator")
    assert run("roles").out == "admin: no permissions\nmoderator: notes.moderate\n"
    client.accounts().revocations.expire()
    assert client.me(credential).data["roles"] == ["admin", "moderator"]
    assert client.me(credential).data["permissions"] == ["notes.moderate"]
    assert run("revoke", "1", "admin").out == "1 has no more the role admin\n"
    assert run("revoke", "1", "admin").out == "1 did not have the role admin\n"
    client.accounts().revocations.expire()
    assert client.me(credential).data["roles"] == ["moderator"]
    kinds = [event.details for event in client.events("role_change")]
    assert [sorted(details) for details in kinds].count(["given", "role"]) == 3


def test_keys_are_rotated(run: Run, client: People) -> None:
    """Old tokens go on, unless they are to be forgotten."""
    credential = client.signed_in("ada@example.org")
    ran = run("rotate-keys")
    assert ran.out.startswith("signing with ")
    client.accounts().revocations.expire()
    assert client.me(credential).status == 200
    assert ran.out.split()[-1] in {key["kid"] for key in client.jwks()}
    run("rotate-keys", "--forget")
    client.accounts().revocations.expire()
    assert client.me(credential).status == 401
    assert len(client.jwks()) == 1


def test_keys_of_another_secret(run: Run, client: People, url: str) -> None:
    """They are a line that says what to do, which then helps."""
    client.signed_in("ada@example.org")
    other = people_app(url)
    other.configure(secret=SECRET[::-1])
    with People(other) as opened:
        with pytest.raises(OperatorError, match="rotate-keys --forget"):
            opened.loop.run_until_complete(opened.accounts().keys.load_once())
        run("rotate-keys", "--forget")
    assert client.login("ada@example.org").status == 200


def test_service_clients(run: Run, client: People) -> None:
    """Made with a secret that is printed once; listed without; disabled."""
    assert "is none" in run("client", "create", "worker", "--scope", "everything").err
    made = dict(line.split("=") for line in run("client", "create", "worker", "--scope", "notes:read").out.split())
    listed = run("client", "list").out
    assert listed == f"{made['client_id']}  worker: notes:read\n"
    body = f"grant_type=client_credentials&client_id={made['client_id']}&client_secret={made['client_secret']}"
    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    assert client.request("POST", "/auth/token", headers=form, body=body.encode()).status == 200
    assert run("client", "disable", "nobody").code == 2
    assert run("client", "disable", made["client_id"]).out == f"{made['client_id']} is disabled\n"
    assert client.request("POST", "/auth/token", headers=form, body=body.encode()).status == 401
