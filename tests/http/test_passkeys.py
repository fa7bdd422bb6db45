"""Passkeys: forged, replayed and copied ones first, then a device of software signs in, on both databases."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec

from backstay.schema.base import utc_now
from support.asgi import Answer
from support.authenticator import PRESENT, VERIFIED, Authenticator, b64, unb64
from support.databases import DATABASES
from support.people import PASSWORD, People, bearer_of, people

HOME = "https://people.example"


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database."""
    with people(request.param, tmp_path, public_url=HOME) as opened:
        yield opened


@pytest.fixture
def device() -> Authenticator:
    """A device on a page of the app."""
    return Authenticator(HOME)


def creation(client: People, credential: str) -> dict[str, Any]:
    """What a device is asked to make."""
    answer = client.post("/auth/passkeys/options", {"password": PASSWORD}, credential=credential)
    assert answer.status == 200, answer.body
    return answer.data


def add(client: People, credential: str, made: dict[str, Any]) -> Answer:
    """Add a passkey."""
    return client.post("/auth/passkeys", {"credential": made, "name": "phone"}, credential=credential)


def registered(client: People, device: Authenticator, email: str = "ada@example.org") -> str:
    """Somebody with a passkey; the Authorization header."""
    credential = client.signed_in(email)
    assert add(client, credential, device.create(creation(client, credential))).status == 201
    return credential


def asked(client: People) -> dict[str, Any]:
    """What a device is asked to sign."""
    return client.post("/auth/passkeys/login/options", None).data


def login(client: People, signed: Any, **more: Any) -> Answer:
    """Sign in."""
    return client.post("/auth/passkeys/login", {"credential": signed, **more})


LIES: list[dict[str, Any]] = [
    {"origin": "https://people.example.evil.example"},
    {"origin": "http://people.example"},
    {"rp_id": "evil.example"},
    {"type": "webauthn.payment"},
    {"challenge": "AAAA"},
    {"challenge": b64(bytes(56))},
    {"challenge": 7},
    {"challenge": "é"},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_forged_registrations(client: People, device: Authenticator, lie: dict[str, Any]) -> None:
    """Nothing is kept of them."""
    credential = client.signed_in("ada@example.org")
    answer = add(client, credential, device.create(creation(client, credential), **lie))
    assert (answer.status, answer.json["code"]) == (401, "WRONG_CREDENTIALS"), answer.body
    assert client.run(sa.select(client.accounts().tables.passkeys)) == []


@pytest.mark.parametrize(
    "lie",
    [
        *LIES,
        {"type": "webauthn.create"},
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"id": b"x" * 32},
        {"id": b"\0"},
        {"handle": b64(b"x" * 32)},
        {"handle": 7},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_forged_sign_ins(client: People, device: Authenticator, lie: dict[str, Any]) -> None:
    """Of another page, site, key, user or purpose: no session."""
    registered(client, device)
    answer = login(client, device.get(asked(client), **lie))
    assert (answer.status, answer.json["code"]) == (401, "WRONG_CREDENTIALS"), answer.body
    assert [dict(event.details)["why"] for event in client.events("login_failed")] == ["passkey"]


@pytest.mark.parametrize("credential", [{}, [], "x", {"id": 7}, {"id": "\u0000", "response": {}}, {"response": 7}])
def test_what_is_no_passkey(client: People, credential: Any) -> None:
    """Is refused as what it is."""
    assert login(client, credential).status in (400, 401)
    session = client.signed_in("ada@example.org")
    assert add(client, session, credential).status in (400, 401)
    signed = Authenticator(HOME).get(asked(client))
    for name in signed["response"]:
        for value in ("", "!", 7, None, "A" * 5_000):
            changed = signed | {"response": signed["response"] | {name: value}}
            assert login(client, changed).status == 401, (name, value)


def test_a_device_must_verify_its_user(client: People, device: Authenticator) -> None:
    """Who has found it in the street does not come in."""
    registered(client, device)
    for flags in (0, PRESENT, VERIFIED):
        device.flags = flags
        assert login(client, device.get(asked(client))).status == 401
    other = Authenticator(HOME, flags=PRESENT)
    session = bearer_of(client.login("ada@example.org"))
    assert add(client, session, other.create(creation(client, session))).status == 401


def test_a_challenge_is_good_once_and_for_a_while(
    client: People, device: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a device that does not count; also when an answer is sent twice at the same moment."""
    device.counting = False
    registered(client, device)
    signed = device.get(asked(client))
    assert login(client, signed).status == 200
    assert login(client, signed).status == 401
    twice = device.get(asked(client))

    async def together() -> list[Answer]:
        sent = (client.send("POST", "/auth/passkeys/login", body={"credential": twice}) for _ in range(5))
        return await asyncio.gather(*sent)

    statuses = sorted(answer.status for answer in client.loop.run_until_complete(together()))
    assert statuses == [200, 401, 401, 401, 401]
    late, now = device.get(asked(client)), time.time()
    monkeypatch.setattr("backstay.auth.passkeys.time.time", lambda: now + 301)
    assert login(client, late).status == 401


def test_a_challenge_is_for_one_purpose_and_user(client: People, device: Authenticator) -> None:
    """One to sign in with registers nothing; another's neither."""
    mine, other = client.signed_in("ada@example.org"), client.signed_in("bob@example.org")
    options = creation(client, mine)
    assert add(client, other, device.create(options)).status == 401
    assert add(client, mine, device.create(options | {"challenge": asked(client)["challenge"]})).status == 401
    assert add(client, mine, device.create(options)).status == 201
    assert add(client, mine, device.create(options)).status == 401, "it is spent"
    again = add(client, other, device.create(creation(client, other)))
    assert (again.status, again.json["code"]) == (409, "CONFLICT"), "the passkey is another's"
    assert login(client, device.get(asked(client), challenge=creation(client, mine)["challenge"])).status == 401


def test_a_copied_device(client: People, device: Authenticator) -> None:
    """Its count stands behind: it is refused."""
    registered(client, device)
    for _ in range(3):
        assert login(client, device.get(asked(client))).status == 200
    device.count = 1
    assert login(client, device.get(asked(client))).status == 401


def test_adding_one_takes_the_password(client: People) -> None:
    """Whoever found an open session does not come back with a key of their own."""
    credential = client.signed_in("ada@example.org")
    for body in ({}, {"password": "wrong password"}):
        answer = client.post("/auth/passkeys/options", body, credential=credential)
        assert answer.json["code"] == "WRONG_CREDENTIALS"
    assert client.post("/auth/passkeys/options", {"password": PASSWORD}).status == 401


def test_a_passkey_ends(client: People, device: Authenticator) -> None:
    """When its owner removes it, and when they are disabled; another's is not there."""
    credential = registered(client, device)
    other = client.signed_in("bob@example.org")
    [shown] = client.get("/auth/passkeys", credential=credential).data
    path = f"/auth/passkeys/{shown['id']}"
    assert client.request("DELETE", path, credential=other).status == 404
    client.change(1, disabled_at=utc_now())
    assert login(client, device.get(asked(client))).status == 401
    client.change(1, disabled_at=None)
    client.change(1, password_hash=None)
    credential = bearer_of(login(client, device.get(asked(client))))
    assert client.request("DELETE", path, credential=credential).json["code"] == "CONFLICT"
    client.change(1, password_hash="$argon2id$")
    assert client.request("DELETE", path, credential=credential).status == 204
    assert login(client, device.get(asked(client))).status == 401


def test_without_an_address_there_are_none(tmp_path: Path) -> None:
    """The server must know where its pages are."""
    with people("sqlite", tmp_path) as client:
        answer = client.post("/auth/passkeys/login/options", None)
        assert (answer.status, answer.json["code"]) == (503, "ADDRESS_UNKNOWN")
    with people("sqlite", tmp_path, dev=True) as client:
        assert asked(client)["rpId"] == "localhost"


def test_a_device_signs_in(client: People, device: Authenticator) -> None:
    """Without a name, in one step, also where there would be two; nobody learns who has passkeys."""
    credential = registered(client, device)
    options = asked(client)
    assert (options["rpId"], options["userVerification"], options.get("allowCredentials", [])) == (
        "people.example",
        "required",
        [],
    )
    answer = login(client, device.get(options))
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert client.me(bearer_of(answer)).data["id"] == 1
    assert len(login(client, device.get(asked(client)), mode="cookie").cookies) == 3
    [shown] = client.get("/auth/passkeys", credential=credential).data
    assert (shown["name"], shown["used_at"] is not None) == ("phone", True)
    excluded = creation(client, credential)
    assert [unb64(known["id"]) for known in excluded["excludeCredentials"]] == [device.id]
    assert excluded["user"]["id"] == device.handle
    assert b"ada" not in unb64(device.handle)
    kinds = [row["kind"] for row in client.get("/auth/sessions", credential=credential).data]
    assert kinds.count("passkey") == 2
