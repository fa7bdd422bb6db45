"""No hash, token or password is in a response that is not meant to have it, nor in the log; on both databases."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp
import pytest
import sqlalchemy as sa

from backstay import AccountOptions, Mail
from backstay.schema.base import utc_now
from support.asgi import SECRET, Answer, Client
from support.databases import DATABASES
from support.people import CHEAP, PEOPLE, People, Person, code_in, people_app

PASSWORD, ANOTHER = "purple-elephants-dance", "green-giraffes-juggle"
#: What may have tokens in it, by the name of its endpoint.
MEANT = ("auth/login", "auth/refresh", "auth/mfa/totp", "auth/mfa/login", "auth/mail", "auth/token")


@dataclass
class Listener(People):
    """Keeps every response, but for those that are meant to have tokens."""

    heard: list[bytes] = field(default_factory=list[bytes])

    async def send(self, method: str, path: Any, *arguments: Any, **options: Any) -> Answer:
        """One request."""
        answer = await super().send(method, path, *arguments, **options)
        if not str(path).strip("/").startswith(MEANT):
            self.heard.append(answer.body + repr(answer.headers).encode() + repr(answer.cookies).encode())
        return answer


@pytest.fixture(params=DATABASES)
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    """The app on each database, with a log of everything."""
    app = people_app(PEOPLE.copied(request.param, tmp_path), AccountOptions(hashing=CHEAP))
    app.configure(log_level="debug", log_format="json")
    with Listener(app) as opened:
        yield opened


def live_through(client: Listener) -> tuple[list[str], list[str]]:
    """Everything that can happen to an account, and then some failures; the passwords and tokens of it."""
    tokens: list[str] = []

    def code(kind: str) -> str:
        mail: Mail = client.mail(kind)
        tokens.append(code_in(mail))
        return tokens[-1]

    def signed_in(password: str) -> str:
        granted = client.login("ada@example.org", password).data
        tokens.extend((granted["access_token"], granted["refresh_token"]))
        return "Bearer " + granted["access_token"]

    client.register("ada@example.org", PASSWORD, username="ada")
    client.register("ada@example.org", PASSWORD)
    client.post("/auth/verify", {"token": code("verify")})
    credential = signed_in(PASSWORD)
    renewed = client.refresh(tokens[-1]).data
    client.refresh(tokens[-1])
    tokens += [renewed["access_token"], renewed["refresh_token"]]
    credential = signed_in(PASSWORD)
    for path in ("/auth/me", "/auth/sessions", "/people", "/people/1", "/notes", "/auth/nowhere"):
        client.get(path, credential=credential)
    client.post("/notes", {"text": "x"}, credential=credential)
    client.request("PATCH", "/people/1", body={"password_hash": "x", "email": "x"}, credential=credential)
    client.post("/auth/password", {"current_password": PASSWORD, "new_password": ANOTHER}, credential=credential)
    client.post("/auth/password/forgot", {"email": "ada@example.org"})
    client.post("/auth/password/reset", {"token": code("reset"), "password": PASSWORD})
    for _ in range(8):
        client.login("ada@example.org", ANOTHER)
    client.login(PASSWORD, ANOTHER)
    for path in ("register", "login", "password", "password/reset", "refresh", "verify", "me/delete"):
        wrong = {"email": PASSWORD, "login": [PASSWORD], "password": [ANOTHER], "token": [tokens[0]], "mode": ANOTHER}
        client.post(f"/auth/{path}", wrong | {"refresh_token": [tokens[1]]}, credential=credential)
        client.post(f"/auth/{path}", json.dumps(wrong).encode()[:-3], credential=credential)
    client.get("/people", credential=credential[:-2])
    return [PASSWORD, ANOTHER], tokens


def test_secrets_stay(listener: Listener, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is asked, rightly or wrongly, and also when the database fails in the middle of it."""
    passwords, tokens = live_through(listener)
    tables = listener.accounts().tables
    kept = [str(value) for row in listener.run(sa.select(tables.refresh_tokens.c.hash)) for value in row]
    kept += [str(value) for row in listener.run(sa.select(tables.one_time_codes.c.hash)) for value in row]
    kept += [
        value for row in listener.run(sa.select(sa.text("password_hash")).select_from(tables.user)) for value in row
    ]
    assert len(kept) > 4
    listener.run(sa.schema.DropTable(tables.events))
    listener.register("eve@example.org", PASSWORD)
    assert listener.login("ada@example.org", PASSWORD).status in (429, 500)
    listener.loop.run_until_complete(listener.app.stop())
    log = capsys.readouterr().err
    assert '"event":"security"' in log
    assert '"event":"failure"' in log
    for place, text in (("log", log), *(("response", heard.decode("latin-1")) for heard in listener.heard)):
        for secret in (SECRET, *kept, *tokens):
            assert secret not in text, place
        for token in tokens:
            assert token.rpartition(".")[2] not in text, place
        assert "$argon2" not in text, place
        assert not any(password in text for password in passwords if place == "log"), place


def test_what_a_body_held_is_not_repeated(listener: Listener) -> None:
    """An error names the field, not what was sent: that may have been a password in the wrong place."""
    live_through(listener)
    text = b"".join(listener.heard).decode("latin-1")
    assert PASSWORD not in text
    assert ANOTHER not in text


def test_openapi_has_no_secret(listener: Client) -> None:
    """The contract shows neither the columns nor the tables behind accounts."""
    text = json.dumps(listener.app.openapi())
    for word in ("password_hash", "auth_refresh_tokens", "auth_signing_keys", SECRET):
        assert word not in text


def test_secrets_of_other_ways_stay(listener: Listener, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """API keys, seeds, codes, tickets: each is told once, where it is made, and is in no log and no table."""
    listener.app._accounts = None
    listener.app.accounts(Person, AccountOptions(hashing=CHEAP, verify_email=False, sign_in_by_mail=True))
    credential = "Bearer " + listener.register("ada@example.org", PASSWORD).data["access_token"]
    listener.change(1, email_verified_at=utc_now())
    listener.heard.clear()
    made = listener.post("/auth/keys", {"name": "ci", "scopes": ["*"]}, credential=credential)
    listener.heard.pop()
    secrets = [made.data["key"]]
    seed = listener.post("/auth/mfa/totp", {"password": PASSWORD}, credential=credential).data["secret"]
    code = pyotp.TOTP(seed).now()
    codes = listener.post("/auth/mfa/totp/confirm", {"code": code}, credential=credential).data["recovery_codes"]
    secrets += [seed, *codes]
    ticket = listener.post("/auth/mail", {"email": "ada@example.org"}).data["ticket"]
    mailed = code_in(listener.mail("login_code"))
    pending = listener.post("/auth/mail/login", {"ticket": ticket, "code": mailed}).data["mfa_token"]
    granted = listener.post("/auth/mfa/login", {"mfa_token": pending, "code": codes[0]}).data
    secrets += [ticket, pending, granted["access_token"], granted["refresh_token"]]
    key = "Bearer " + secrets[0]
    for path in ("/auth/me", "/people", "/auth/keys", "/auth/mfa", "/auth/sessions", "/auth/identities"):
        for who in (credential, key, key[:-1]):
            listener.get(path, credential=who)
    wrong = {"code": codes[1:2], "token": [seed], "ticket": {"x": ticket}, "mfa_token": 7, "credential": seed}
    for path in ("mfa/totp/confirm", "mfa/login", "mail/login", "passkeys/login", "keys", "impersonate"):
        listener.post(f"/auth/{path}", wrong, credential=credential)
    tables = listener.accounts().tables
    rows = str([listener.run(sa.select(table)) for table in tables.all()])
    listener.loop.run_until_complete(listener.app.stop())
    log = capsys.readouterr().err
    assert '"kind":"mfa_on"' in log
    heard = b"".join(listener.heard).decode("latin-1")
    for place, text in (("log", log), ("table", rows), ("response", heard)):
        assert [secret for secret in (SECRET, *secrets) if secret in text] == [], place
