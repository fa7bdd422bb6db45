"""Methods, headers and credentials that are not what they should be."""

from collections.abc import Iterator
from typing import Any

import pytest

from backstay.auth.tokens import Tokens
from support.asgi import bearer
from support.hostile import JSON, Target
from support.worlds import WORLD


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One app, checked after each test; on one database, because these refusals come before any."""
    with Target(WORLD.copied("sqlite", tmp_path_factory.mktemp("requests"))) as opened:
        yield opened


@pytest.fixture(autouse=True)
def harmless(target: Target) -> Iterator[None]:
    """Whatever was sent, nothing changed and nothing failed."""
    yield
    target.unharmed()


BODY = b'{"slug":"x","name":"x"}'
MEDIA = [
    b"",
    b" ",
    b";",
    b"/",
    b"application/",
    b"application",
    b"text/json",
    b"text/plain",
    b"application/x-ndjson",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data",
    b"application/json, text/plain",
    b"application/jsonx",
    b"application/json; charset=utf-16",
    b"application/json; charset=iso-8859-1",
    b'application/json; charset="utf-7"',
    b"\xff\xfe",
    b"application/json\x00",
    b"application/json\r\nx: y",
    b"a" * 10_000,
    b"application/xml+json2",
]


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/games"), ("PATCH", "/games/pong"), ("PUT", "/games/pong"), ("POST", "/games/pong/scores")],
)
def test_another_content_type_is_415(target: Target, method: str, path: str, media: bytes) -> None:
    """None, several, unknown and broken ones; the answer shows it, shortened."""
    answer = target.send(method, path, headers=[(b"content-type", media)], body=BODY)
    problem = target.refuse(answer, [415])
    assert problem["code"] == "UNSUPPORTED_MEDIA_TYPE"
    assert len(problem["detail"]) < 200


def test_no_content_type_is_415(target: Target) -> None:
    """A body must say what it is."""
    target.refuse(target.send("POST", "/games", headers=[], body=BODY), [415])


METHODS = [
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "BREW",
    "get",
    "Post",
    "G",
    "",
    "X" * 5_000,
    "GET\x00",
    "PROPFIND",
    "PURGE",
    "É",
]


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_method_is_405(target: Target, method: str) -> None:
    """With those that are known, and no long echo."""
    for path in ("/games", "/games/tetris", "/games/tetris/scores", "/games/aggregate"):
        answer = target.send(method, path)
        problem = target.refuse(answer, [405])
        assert "GET" in answer.headers["allow"]
        assert len(problem["detail"]) < 200


def test_a_write_where_only_reads_are_is_405(target: Target) -> None:
    """Read-only resources, aggregates and lists of many-to-many."""
    for method, path in (
        ("POST", "/members"),
        ("PATCH", "/members/1"),
        ("DELETE", "/members/1"),
        ("POST", "/games/aggregate"),
        ("PUT", "/games"),
        ("POST", "/games/tetris"),
        ("POST", "/games/tetris/tags"),
        ("DELETE", "/games/tetris/scores"),
        ("DELETE", "/comments/1"),
        ("PATCH", "/payments/1"),
    ):
        answer = target.send(method, path, body=BODY)
        target.refuse(answer, [405])
        assert method not in answer.headers["allow"]


HEADERS: list[list[tuple[bytes, bytes]]] = [
    [(b"accept", b"\xff\xff,application/json")],
    [(b"accept", b"application/json;q=" + b"9" * 5_000)],
    [(b"accept", b"," * 8_000 + b"*/*")],
    [(b"accept-encoding", b"gzip, deflate, br, \xff")],
    [(b"if-none-match", b'"')],
    [(b"if-none-match", b"W/")],
    [(b"if-none-match", b"," * 8_000)],
    [(b"if-none-match", b"\xff\x00")],
    [(b"x-request-id", b"\r\nset-cookie: a=b")],
    [(b"x-request-id", b"\xff" * 100)],
    [(b"x-request-id", b"x" * 100_000)],
    [(b"host", b"")],
    [(b"host", b"evil\r\nx: y")],
    [(b"host", b"a"), (b"host", b"b")],
    [(b"content-length", b"5")],
    [(b"content-length", b"-5")],
    [(b"content-length", b"99999999999999999999")],
    [(b"transfer-encoding", b"chunked")],
    [(b"expect", b"100-continue")],
    [(b"upgrade", b"h2c")],
    [(b"range", b"bytes=0-1")],
    [(b"x-http-method-override", b"DELETE")],
    [(b"x-forwarded-for", b"\x00" * 100)],
    [(b"traceparent", b"00-zz")],
    [(b"cookie", b"a=b; " * 2_000)],
    [(b"", b"")],
    [(b"x" * 10_000, b"y" * 10_000)],
    [(b"\xff\xfe", b"\x00")],
    [(f"x-{i}".encode(), b"y") for i in range(2_000)],
]


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: repr(headers[0])[:50])
def test_odd_headers_do_no_harm(target: Target, headers: list[tuple[bytes, bytes]]) -> None:
    """The answer is the usual one or a refusal; nothing of a header comes back as a header."""
    for path in ("/games/tetris", "/games", "/nope"):
        answer = target.send("GET", path, headers=headers)
        assert answer.status in (200, 304, 400, 404, 406, 413, 431), answer.status
        assert "set-cookie" not in answer.headers
        assert all("\r" not in value and "\n" not in value for value in answer.headers.values())


TOKEN = bearer(1)
OTHER = "another secret of more than thirty-two bytes......"
CREDENTIALS: list[bytes] = [
    b"",
    b" ",
    b"Bearer",
    b"Bearer ",
    b"Bearer  " + TOKEN[7:].encode(),
    b"Basic YTpi",
    b"Digest x",
    b"Bearer \xff",
    b"Bearer a.b",
    b"Bearer a.b.c",
    b"Bearer ..",
    b"Bearer " + b"." * 4_000,
    b"Bearer " + b"A" * 10_000,
    b"Bearer {}",
    b"Bearer null",
    TOKEN.encode()[:-1],
    TOKEN.encode() + b"x",
    TOKEN.encode()[:-10],
    TOKEN.replace(".", "..").encode(),
    TOKEN.encode() + b" x",
    b"Bearer " + TOKEN.encode(),
    TOKEN[7:].encode(),
    TOKEN.encode() + b"\x00",
    TOKEN.encode() + b"=",
    bearer(1, secret=OTHER).encode(),
    b"Bearer " + Tokens(OTHER).issue(1, ttl_s=-10).encode(),
    # alg none, with and without a signature; alg RS256; nested deep; claims of other types
    b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5fQ.",
    b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5fQ.eA",
    b"Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5fQ.eA",
    b"Bearer bnVsbA.bnVsbA.bnVsbA",
    b"Bearer W10.W10.W10",
    b"Bearer e30.e30.e30",
]


@pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda credential: repr(credential)[:40])
def test_a_credential_that_is_none_of_ours_is_401(target: Target, credential: bytes) -> None:
    """For reads that anybody may do, for writes, and for paths that nothing is at."""
    for method, path in (("GET", "/games"), ("POST", "/games"), ("DELETE", "/scores/1"), ("GET", "/nope")):
        headers = [JSON, (b"authorization", credential)]
        answer = target.client.request(method, path, headers=headers, body=BODY if method == "POST" else None)
        problem = target.refuse(answer, [401])
        assert problem["code"] == "INVALID_TOKEN"
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": 1},
        {"sub": ""},
        {"sub": None},
        {"sub": ["1"]},
        {},
        {"roles": "admin"},
        {"roles": [1]},
        {"roles": {"admin": 1}},
        {"exp": "9999999999"},
        {"exp": None},
        {"exp": True},
        {"exp": 0},
        {"exp": -1},
        {"nbf": 9_999_999_999},
        {"exp": 1e400},
    ],
    ids=str,
)
def test_claims_of_another_shape_are_401(target: Target, claims: dict[str, Any]) -> None:
    """A token that is signed with the very secret, but says what no token of ours does."""
    from joserfc import jwt
    from joserfc.jwk import OctKey

    said = {"sub": "1", "roles": [], "exp": 9_999_999_999} | claims
    if claims == {}:
        del said["sub"]
    key = OctKey.import_key(target.app.config.secret)
    try:
        token = jwt.encode({"alg": "HS256"}, said, key)
    except ValueError:
        pytest.skip("the library signs no such claim")
    headers = [(b"authorization", f"Bearer {token}".encode())]
    target.refuse(target.client.request("GET", "/games", headers=headers), [401])
