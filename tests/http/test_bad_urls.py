"""URLs that say nothing, too much, or what no column could be: refused, named, and answered with what there is."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from support.databases import DATABASES
from support.hostile import Target, fields_of
from support.worlds import WORLD

READS = ["/games", "/games/tetris", "/games/tetris/scores", "/scores/aggregate"]


@pytest.fixture(scope="module", params=DATABASES)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One app, checked after each test."""
    with Target(WORLD.copied(request.param, tmp_path_factory.mktemp("urls"))) as opened:
        yield opened


@pytest.fixture(autouse=True)
def harmless(target: Target) -> Iterator[None]:
    """Whatever was sent, nothing changed and nothing failed."""
    yield
    target.unharmed()


#: Invalid UTF-8 (stray, overlong, surrogate, beyond the range, cut off) and NUL, encoded or not.
NOT_TEXT = rb"%80 %ff %c0%af %ed%a0%80 %f4%90%80%80 %e2%82 %fe%ff %C3 %00 a%00b".split()
NOT_TEXT += [b"\xff", b"\x80abc", b"\x00", b"\xc3\x28"]


@pytest.mark.parametrize("raw", NOT_TEXT)
@pytest.mark.parametrize("path", READS)
def test_a_query_that_is_no_text_is_refused(target: Target, path: str, raw: bytes) -> None:
    """As a name, a value, an operator, inside a group and in each word: invalid UTF-8 and NUL are 400."""
    forms = [raw, b"name=" + raw, raw + b"=1", b"name[" + raw + b"]=1", b"or=(name=" + raw + b")", b"sort=" + raw]
    forms += [
        word + b"=" + raw for word in (b"page", b"limit", b"cursor", b"include", b"fields", b"select", b"group")
    ]
    forms += [b"fields[" + raw + b"]=id", b"name[in]=a," + raw, b"name[like]=" + raw, b"id=" + raw]
    for query in forms:
        problem = target.refuse(target.send("GET", path, query))
        assert problem["code"] in ("MALFORMED_REQUEST", "VALIDATION_ERROR")


@pytest.mark.parametrize("raw", NOT_TEXT)
def test_a_path_that_is_no_text_is_refused(target: Target, raw: bytes) -> None:
    """As a resource, a key, a part of a key and a relation, for reads and writes."""
    for path in (
        b"/" + raw,
        b"/games/" + raw,
        b"/shelves/1," + raw,
        b"/games/" + raw + b"/scores",
        b"/games/tetris/" + raw,
    ):
        for method in ("GET", "PATCH", "DELETE", "POST"):
            body = b"{}" if method in ("PATCH", "POST") else None
            target.refuse(target.send(method, path, body=body), [400, 404, 405])


_KEYS = """0 -1 1.0 1e0 0x1 %201 1%20 01x ٣ null NaN true %22 ' 1;-- 9223372036854775808 -9223372036854775809 1,2
, 1'%20or%20'1'='1 .. %2e%2e * %25 aggregat AGGREGATE %5B%5D {key} %7Bkey%7D 𝄞 %F0%9D%84%9E 1/ %2F %2F..%2F"""
KEYS = [*_KEYS.split(), "", "9" * 400]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("resource", ["users", "samples", "games", "shelves", "settings", "books"])
def test_a_key_that_no_row_has_is_404(target: Target, resource: str, key: str) -> None:
    """Keys that do not parse included, for every method."""
    path = f"/{resource}/{key}".encode()
    for method, body in (("GET", None), ("HEAD", None), ("PATCH", b"{}"), ("DELETE", None)):
        answer = target.send(method, path, body=body)
        if answer.status == 405:
            assert key == "", "only the list's path with a slash"
            continue
        assert answer.status in (404,), (method, path, answer.body[:200])


WRONG_NAMES = [
    ("/scores", "valeu=1", "valeu", "'value'"),
    ("/scores", "value[gtt]=1", "value[gtt]", "'gt'"),
    ("/scores", "value[GT]=1", "value[GT]", "gt"),
    ("/scores", "value[]=1", "value[]", ""),
    ("/scores", "value[$gt]=1", "value[$gt]", "'gt'"),
    ("/scores", "value__gt=1", "value__gt", "'value'"),
    ("/scores", "player.usernam=a", "player.usernam", "'username'"),
    ("/scores", "players.username=a", "players.username", "'player'"),
    ("/scores", "include=plyer", "include", "'player'"),
    ("/scores", "include=player.bos", "include", "'boss'"),
    ("/scores", "fields=valu", "fields", "'value'"),
    ("/scores", "include=player&fields[playr]=id", "fields[playr]", "'player'"),
    ("/scores", "sort=vlaue", "sort", "'value'"),
    ("/scores", "_method=DELETE", "_method", ""),
    ("/scores", "value=1=1", "value", ""),
    ("/scores/1", "includ=player", "includ", "'include'"),
    ("/scores/1", "field=value", "field", "'fields'"),
    ("/scores/aggregate", "selct=count", "selct", ""),
    ("/scores/aggregate", "group=valu", "group", "'value'"),
    ("/scores/aggregate", "select=max(valeu)", "select", "'value'"),
    ("/scores/aggregate", "select=total(value)", "select", "sum"),
    ("/scores/aggregate", "select=count&sort=cuont", "sort", "'count'"),
]


@pytest.mark.parametrize(("path", "query", "field", "hint"), WRONG_NAMES)
def test_a_wrong_name_is_named_with_the_nearest(target: Target, path: str, query: str, field: str, hint: str) -> None:
    """Fields, operators, relations and words, wherever they may stand."""
    problem = target.refuse(target.send("GET", path, query))
    assert fields_of(problem) == [field]
    assert hint in problem["hint"]


BRACKETS = "[ ] [] [gt] a[ a] a[gt a[gt]x a[[gt]] a[gt][lt] [gt]a a[b[c]] a]b[ . .. a..b"


@pytest.mark.parametrize("name", BRACKETS.split())
@pytest.mark.parametrize("path", ["/scores", "/scores/1", "/scores/aggregate"])
def test_a_name_with_brackets_gone_wrong_is_refused(target: Target, path: str, name: str) -> None:
    """With the name, as far as there is one."""
    problem = target.refuse(target.send("GET", path, quote(name) + "=1"))
    assert problem["errors"]


def test_includes_and_paths_too_deep_are_refused(target: Target) -> None:
    """Three relations in a shape, four in a path; the word or name is said."""
    for depth in (4, 5, 50, 500):
        path = ".".join(["boss"] * depth)
        for query, field in (
            (f"include={path}", "include"),
            (f"sort={path}.id", "sort"),
            (f"{path}.id=1", path[:120]),
        ):
            if depth == 4 and not query.startswith("include"):
                continue
            problem = target.refuse(target.send("GET", "/users", query))
            assert problem["errors"][0]["code"] == "too_deep"
            assert problem["errors"][0]["field"].startswith(field[:80])


def test_too_many_of_anything_is_refused(target: Target) -> None:
    """Parameters, filters in groups, items of lists, and names."""
    limit = target.app.config.params_max
    assert target.send("GET", "/scores", "&".join(["value[gte]=0"] * limit)).status == 200
    for query in (
        "&".join(["value[gte]=0"] * (limit + 1)),
        "&".join(f"or=(value={i})" for i in range(limit + 1)),
        "or=(" + ",".join(["value=1"] * 500) + ")",
        "value[in]=" + ",".join("1" for _ in range(101)),
        "&" * 100 + "&".join(["a=1"] * 100),
    ):
        problem = target.refuse(target.send("GET", "/scores", query))
        assert problem["errors"][0]["code"] in ("too_many", "invalid_value")
        assert problem["errors"][0]["field"]


def test_a_long_url_is_414(target: Target) -> None:
    """In the path or in the query, for every method; before anything else is looked at."""
    long = b"x" * target.app.config.url_bytes_max
    for method in ("GET", "HEAD", "POST", "PATCH", "DELETE"):
        body = b"{}" if method in ("POST", "PATCH") else None
        for path, query in (
            (b"/" + long, b""),
            (b"/games/" + long, b""),
            (b"/games", b"name=" + long),
            (b"/games", long),
        ):
            answer = target.send(method, path, query, body=body)
            assert answer.status == 414
            if method != "HEAD":
                assert target.refuse(answer, [414])["code"] == "URI_TOO_LONG"


_VALUES = r"""' '' " \ \' 1'-- \x27 `id` $1 ? :s0 */ /* ${7*7} {{7*7}} <script> [ ] ( ) [^] [!a] a[ *** ???"""
VALUES = [
    *_VALUES.split(),
    *("1;DROP TABLE users", "' OR 1=1 --", "%' OR '1'='1", "\r\nSet-Cookie: x=1", "\u202e", "\ufeff", "\ufffd"),
    *("﷽" * 100, "🏳️‍🌈", "_" * 500, "%" * 500, "\\" * 501, "*" * 500),
]


@pytest.mark.parametrize("operator", ["eq", "ne", "lt", "gte", "in", "nin", "like", "ilike", "contains"])
def test_hostile_text_is_a_value_like_any(target: Target, operator: str) -> None:
    """Quotes, comments, templates, patterns: no value changes what is asked; at most it matches nothing."""
    users = len(target.send("GET", "/users").data)
    for value in VALUES:
        answer = target.send("GET", "/users", f"username[{operator}]={quote(value, safe='')}")
        if operator in ("in", "nin") and answer.status == 400:
            assert fields_of(target.refuse(answer)) == [f"username[{operator}]"]
            continue
        assert answer.status == 200, (operator, value, answer.body[:200])
        assert len(answer.data) <= users
        if operator == "eq":
            assert answer.data == []
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        grouped = target.send("GET", "/users", f'or=(username[{operator}]="{quote(quoted, safe="")}")')
        assert grouped.status in (200, 400)


def test_patterns_take_no_time(target: Target) -> None:
    """Many wildcards on a short text end soon: the query's budget and the text's length bound them."""
    for operator in ("like", "ilike"):
        for pattern in ("%a" * 1_000, "_%" * 1_000, "%" + "a%" * 500 + "b"):
            answer = target.send("GET", "/users", f"username[{operator}]={quote(pattern)}")
            assert answer.status in (200, 400, 414), answer.body[:200]
