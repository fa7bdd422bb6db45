"""No forged token is ever anybody's: 500 and more for each algorithm, beside a good one that always works."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.errors import Problem
from support.asgi import SECRET, Answer, bearer
from support.databases import DATABASES
from support.forged import Forger, unb64
from support.people import People, people

ALGORITHMS = ("Ed25519", "ES256", "HS256")
FORGED_MIN = 500
ROUNDS = 300


@pytest.fixture(params=ALGORITHMS)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app with each algorithm."""
    with people("sqlite", tmp_path, token_algorithm=request.param) as opened:
        yield opened


def forger_of(client: People) -> Forger:
    """One that has a good token, and everything that is public."""
    good = client.register("ada@example.org").data["access_token"]
    public = client.jwks()
    key = client.accounts().keys.get(json.loads(unb64(good.split(".")[0])))
    return Forger(good, key, public[0] if public else {}, SECRET)


def refused(answer: Answer) -> bool:
    """Whether an answer is the one that every forged token gets."""
    challenge = answer.headers.get("www-authenticate")
    told = answer.status, answer.json.get("code"), challenge
    return told == (401, "INVALID_TOKEN", 'Bearer error="invalid_token"')


def test_every_forged_token_is_refused(client: People, capsys: pytest.CaptureFixture[str]) -> None:
    """On what everybody may read too; the good one works before, between and after."""
    forger = forger_of(client)
    good = f"Bearer {forger.good}"
    forged = dict(forger.all())
    assert len(set(forged.values())) >= FORGED_MIN
    accepted: list[str] = []
    for number, (name, token) in enumerate(forged.items()):
        try:
            credential = f"Bearer {token}".encode("latin-1", "surrogatepass")
        except UnicodeEncodeError:
            credential = f"Bearer {token}".encode()
        path = ("/people", "/people/1", "/auth/me", "/notes")[number % 4]
        method = "POST" if path == "/notes" else "GET"
        body = {"text": "forged"} if method == "POST" else None
        answer = client.request(method, path, body=body, more=[(b"authorization", credential)])
        if not refused(answer):
            accepted.append(f"{name}: {answer.status} {answer.body[:80]!r}")
        if number % 100 == 0:
            assert client.me(good).status == 200
    assert accepted == []
    assert client.me(good).status == 200
    assert client.get("/notes").data == []
    assert capsys.readouterr().err == "", "nothing of it is worth an error line"


def test_forged_tokens_in_a_cookie(client: People) -> None:
    """A browser's are refused just so."""
    forger = forger_of(client)
    sample = random.Random(7).sample(sorted(dict(forger.all()).items()), 60)
    name = b"__Host-backstay_access="
    for label, token in sample:
        if token.isascii() and not set(token) & set(' ;\n\t"'):
            answer = client.request("GET", "/people", more=[(b"cookie", name + token.encode())])
            assert refused(answer), label
    assert client.request("GET", "/auth/me", more=[(b"cookie", name + forger.good.encode())]).status == 200


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic {}",
        "Token {}",
        "{}",
        "Bearer  {}",
        "Bearer {} ",
        "Bearer\t{}",
        "Bearer {}, {}",
    ],
)
def test_other_schemes_are_refused(client: People, credential: str) -> None:
    """A good token in a header that is not RFC 6750's."""
    good = client.register("ada@example.org").data["access_token"]
    assert refused(client.get("/people", more=[(b"authorization", credential.format(good, good).encode())]))
    assert client.me(f"bearer {good}").status == 200, "the scheme's case is free (RFC 9110)"


def test_rotated_keys(client: People) -> None:
    """A retired key's tokens are good until they expire; a forgotten one's are not, in a second process neither."""
    forger = forger_of(client)
    good, accounts = f"Bearer {forger.good}", client.accounts()

    async def rotate(*, forget: bool) -> None:
        async with client.app.transaction() as session:
            await accounts.keys.rotate(session, forget=forget)

    client.loop.run_until_complete(rotate(forget=False))
    assert client.me(good).status == 200
    newer = client.login("ada@example.org").data["access_token"]
    assert json.loads(unb64(newer.split(".")[0]))["kid"] != forger.header["kid"]
    assert len(client.jwks()) in (0, 2)
    client.loop.run_until_complete(rotate(forget=True))
    assert client.me(good).status == 401
    assert client.me(f"Bearer {newer}").status == 401
    assert client.me("Bearer " + client.login("ada@example.org").data["access_token"]).status == 200


def test_tokens_of_another_app_are_not_ours(tmp_path: Path) -> None:
    """Even with the same secret and user: it has other keys, and another name."""
    with people("sqlite", tmp_path) as one:
        token = one.signed_in("ada@example.org")
        (tmp_path / "other").mkdir()
        with people("sqlite", tmp_path / "other") as other:
            other.register("ada@example.org")
            assert other.me(token).status == 401


def test_public_keys_are_public(client: People) -> None:
    """The key set has what verifies, and nothing that signs."""
    keys = client.jwks()
    for key in keys:
        assert {"kid", "alg", "use", "kty"} <= set(key)
        assert "d" not in key
        assert "k" not in key
    assert len(keys) == (0 if client.app.config.token_algorithm == "HS256" else 1)


@pytest.mark.parametrize("database", DATABASES)
def test_refresh_tokens_are_not_guessed(database: str, tmp_path: Path) -> None:
    """Changed, cut, stretched and hostile ones are refused, and end nobody's session."""
    with people(database, tmp_path) as client:
        granted = client.register("ada@example.org").data
        good = granted["refresh_token"]
        random_ = random.Random(11)
        for _ in range(ROUNDS):
            characters = list(good)
            for _ in range(random_.randint(1, 3)):
                place = random_.randrange(len(characters))
                characters[place] = random_.choice([chr(random_.randrange(1, 0x250)), "", "'", "%", "\\", "A"])
            changed = "".join(characters)
            if changed != good:
                assert client.refresh(changed).status in (400, 401), changed
        bodies = [None, [], "x", 7, {"refresh_token": None}, {"refresh_token": ["x"]}, {"refresh_token": {"$ne": ""}}]
        bodies += [
            {"refresh_token": good + "\x00"},
            {"refresh_token": good, "x": 1},
            {"refresh_token": granted["access_token"]},
        ]
        bodies += [
            b"",
            b"{",
            b"\xff",
            b'{"refresh_token":"\\ud800"}',
            {"refresh_token": "x" * 100_000},
            {"refresh_token": True},
        ]
        for body in bodies:
            answer = client.request("POST", "/auth/refresh", body=body)
            assert answer.status in (400, 401), body
        assert client.refresh(good).status == 200


def test_a_program_without_accounts_is_as_strict(tmp_path: Path) -> None:
    """It has the operator's tokens alone; the same classes are refused."""
    with people("sqlite", tmp_path, token_algorithm="HS256") as client:
        forged = dict(forger_of(client).all())
    from backstay.auth.tokens import Tokens

    tokens = Tokens(SECRET)
    for name, token in forged.items():
        with pytest.raises(Problem) as caught:
            tokens.principal(f"Bearer {token}".encode("utf-8", "surrogatepass"))
        assert caught.value.code == "INVALID_TOKEN", name
    assert tokens.principal(bearer(7).encode()).id == "7"
