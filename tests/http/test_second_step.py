"""Signing in in two steps: guessed, spent and replayed codes first, then how it goes, on both databases."""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
import sqlalchemy as sa

from backstay.auth.second_step import ATTEMPTS_MAX
from backstay.schema.base import utc_now
from support.asgi import Answer
from support.databases import DATABASES
from support.people import PASSWORD, People, Person, bearer_of, people


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database."""
    with people(request.param, tmp_path) as opened:
        yield opened


class App:
    """An authenticator app; it is never asked for one code twice."""

    def __init__(self, secret: str) -> None:
        self.totp = pyotp.TOTP(secret)
        self.step = int(time.time()) // 30 - 2

    def code(self) -> str:
        """The next code that a server takes."""
        self.step += 1
        return self.totp.generate_otp(self.step)


class Two:
    """Somebody who signs in in two steps."""

    def __init__(self, client: People, email: str = "ada@example.org") -> None:
        self.client = client
        self.email = email
        self.session = client.signed_in(email)
        seed = client.post("/auth/mfa/totp", {"password": PASSWORD}, credential=self.session)
        assert seed.headers["cache-control"] == "no-store"
        self.secret = seed.data["secret"]
        self.app = App(self.secret)
        confirmed = client.post("/auth/mfa/totp/confirm", {"code": self.app.code()}, credential=self.session)
        assert confirmed.status == 200, confirmed.body
        self.recovery = confirmed.data["recovery_codes"]

    def first(self) -> str:
        """The token of the first step."""
        answer = self.client.login(self.email)
        assert answer.status == 200
        assert set(answer.data) == {"status", "mfa_token", "expires_in"}
        assert answer.cookies == ()
        return answer.data["mfa_token"]

    def second(self, token: str, code: str, **more: Any) -> Answer:
        """The second step."""
        return self.client.post("/auth/mfa/login", {"mfa_token": token, "code": code, **more})

    def rest(self) -> None:
        """Let so much time pass that nobody waits."""
        attempts = self.client.accounts().tables.attempts
        self.client.run(sa.delete(attempts))


def wrong_of(two: Two) -> str:
    """A code that no step near now has."""
    near = {two.app.totp.generate_otp(int(time.time()) // 30 + n) for n in range(-3, 4)}
    return next(code for code in (f"{n:06}" for n in range(20)) if code not in near)


def test_wrong_codes(client: People) -> None:
    """Another's, malformed ones, one of a minute ago or ahead: no session, and each is an event."""
    two, other = Two(client), Two(client, "bob@example.org")
    now = int(time.time()) // 30
    codes = [wrong_of(two), "", " ", "x" * 64, "１２３４５６", "000000\n", other.recovery[0], "\u0000"]
    codes += [two.app.totp.generate_otp(now - 4), two.app.totp.generate_otp(now + 4)]
    for code in codes:
        answer = two.second(two.first(), code)
        assert answer.status in (400, 401), code
        assert "access_token" not in answer.body.decode()
        two.rest()
    assert client.events("mfa_failed") != []
    assert other.second(other.first(), other.recovery[0]).status == 200, "a try of another did not spend it"


def test_a_code_is_good_once(client: People) -> None:
    """Also within its half minute, also for another sign-in, also when two come at the same moment."""
    two = Two(client)
    code = two.app.code()
    assert two.second(two.first(), code).status == 200
    assert two.second(two.first(), code).json["code"] == "WRONG_CREDENTIALS"
    tokens, code = [two.first() for _ in range(6)], two.app.code()

    async def together() -> list[Answer]:
        bodies = [{"mfa_token": token, "code": code} for token in tokens]
        return await asyncio.gather(*(client.send("POST", "/auth/mfa/login", body=body) for body in bodies))

    two.rest()
    statuses = sorted(answer.status for answer in client.loop.run_until_complete(together()))
    assert statuses[0] == 200
    assert 200 not in statuses[1:], statuses


def test_a_token_is_good_once_and_for_a_while(client: People) -> None:
    """And for few tries; one that nobody was given is none."""
    two = Two(client)
    token = two.first()
    assert two.second(token, two.recovery[0]).status == 200
    assert two.second(token, two.recovery[1]).json["code"] == "INVALID_TOKEN"
    for wrong in ("x", "x" * 43, two.session.removeprefix("Bearer ")[:100]):
        assert two.second(wrong, two.recovery[1]).json["code"] == "INVALID_TOKEN"
    late = two.first()
    client.run(sa.update(client.accounts().tables.one_time_codes).values(expires_at=utc_now()))
    assert two.second(late, two.recovery[1]).json["code"] == "INVALID_TOKEN"
    tried, wrong = two.first(), wrong_of(two)
    for _ in range(ATTEMPTS_MAX):
        two.rest()
        assert two.second(tried, wrong).json["code"] == "WRONG_CREDENTIALS"
    two.rest()
    assert two.second(tried, two.recovery[1]).json["code"] == "INVALID_TOKEN"
    assert two.second(two.first(), two.recovery[1]).status == 200


def test_guessing_gets_slower(client: People) -> None:
    """However often the first step is made anew."""
    two = Two(client)
    wrong = wrong_of(two)
    statuses = [two.second(two.first(), wrong).status for _ in range(7)]
    assert statuses[:5] == [401] * 5
    assert statuses[5] == 429
    assert client.events("lockout") != []


def test_the_first_step_is_no_session(client: People) -> None:
    """Its token is good for nothing else, and a wrong password is told nothing of a second step."""
    two = Two(client)
    token = two.first()
    assert client.me(f"Bearer {token}").status == 401
    assert client.refresh(token).status == 401
    assert client.post("/auth/verify", {"token": token}).status == 400
    assert client.login(two.email, "wrong password").json["code"] == "WRONG_CREDENTIALS"
    sessions = client.accounts().tables.sessions
    assert len(client.run(sa.select(sessions.c.id))) == 1


def test_turning_it_on_takes_the_password(client: People) -> None:
    """Whoever found an open session does not lock its owner out; nor is it on before its first code."""
    session = client.signed_in("ada@example.org")
    for body in ({}, {"password": "wrong password"}):
        assert client.post("/auth/mfa/totp", body, credential=session).json["code"] == "WRONG_CREDENTIALS"
    assert client.post("/auth/mfa/totp", {"password": PASSWORD}).status == 401
    client.post("/auth/mfa/totp", {"password": PASSWORD}, credential=session)
    assert client.post("/auth/mfa/totp/confirm", {"code": "000000"}, credential=session).status == 401
    assert bearer_of(client.login("ada@example.org"))
    shown = client.get("/auth/mfa", credential=session).data
    assert shown == {"totp": False, "recovery_codes": 0, "passkeys": 0}


def test_who_has_no_password_needs_a_fresh_session(client: People) -> None:
    """They cannot be asked for one."""
    session = client.signed_in("ada@example.org")
    client.change(1, password_hash=None)
    assert client.post("/auth/mfa/totp", {}, credential=session).status == 200
    sessions = client.accounts().tables.sessions
    client.run(sa.update(sessions).values(created_at=utc_now() - timedelta(hours=1)))
    assert client.post("/auth/mfa/totp", {}, credential=session).json["code"] == "UNAUTHENTICATED"


def test_turning_it_off_takes_a_code(client: People) -> None:
    """Of the app or for recovery; then the password is enough, and the codes are gone."""
    two = Two(client)
    assert client.post("/auth/mfa/totp/delete", {"code": "000000"}, credential=two.session).status == 401
    assert client.post("/auth/mfa/totp", {"password": PASSWORD}, credential=two.session).status == 400
    assert client.post("/auth/mfa/totp/delete", {"code": two.recovery[0]}, credential=two.session).status == 204
    assert bearer_of(client.login(two.email))
    assert client.run(sa.select(client.accounts().tables.recovery_codes)) == []


def test_two_steps(client: People) -> None:
    """The app's code ends in a session, as tokens or in cookies; the session says how it was begun."""
    two = Two(client)
    answer = two.second(two.first(), two.app.code()[:3] + " " + two.app.totp.generate_otp(two.app.step)[3:])
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    credential = bearer_of(answer)
    shown = client.get("/auth/sessions", credential=credential).data
    assert [row["kind"] for row in shown if row["current"]] == ["password+totp"]
    cookies = two.second(two.first(), two.recovery[3].upper(), mode="cookie")
    assert (cookies.status, len(cookies.cookies)) == (200, 3)
    mfa = client.get("/auth/mfa", credential=credential).data
    assert mfa == {"totp": True, "recovery_codes": 9, "passkeys": 0}


def test_recovery_codes_are_renewed(client: People) -> None:
    """By a code; the old ones are good no more."""
    two = Two(client)
    renewed = client.post("/auth/mfa/recovery-codes", {"code": two.app.code()}, credential=two.session)
    codes = renewed.data["recovery_codes"]
    assert (len(set(codes)), set(codes) & set(two.recovery)) == (10, set())
    assert two.second(two.first(), two.recovery[0]).status == 401
    assert two.second(two.first(), codes[0]).status == 200


def test_seeds_and_codes_are_not_kept_as_they_are(client: People) -> None:
    """Who reads the tables can use nothing of it; a seed is bound to its user."""
    two = Two(client)
    tables = client.accounts().tables
    seen = str([client.run(sa.select(table)) for table in tables.all()])
    for secret in (two.secret, *two.recovery, *(code.replace("-", "") for code in two.recovery)):
        assert secret not in seen
    assert client.run(sa.select(Person.id)) == [(1,)]
    [row] = client.run(sa.select(tables.factors.c.secret))
    with pytest.raises(ValueError, match="cannot be decrypted"):
        client.accounts().vault.decrypt("totp", "2", row[0])
