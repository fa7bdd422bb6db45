"""What older versions of the API say of themselves: refused declarations first, then ends, usage and contracts."""

import io
import json
import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from backstay import Added, Backstay, Removed, Renamed, Required, Version, me, public, reflect
from backstay.errors import OperatorError
from backstay.observe import CALLERS_MAX, OTHERS, REPORT_S, Log, Usage
from support.asgi import Answer, Client, bearer, quiet
from support.commands import ran
from support.contract import Contract
from support.databases import DATABASES
from support.people import OPTIONS, PEOPLE, Base, Note, Person, bearer_of
from support.versioned import OLDER, VERSIONED, Medal, Player, Score, Season, versioned

ADA = bearer(1)
YESTERDAY, TOMORROW = date.today() - timedelta(days=2), date.today() + timedelta(days=2)


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the rows of the three versions."""
    return VERSIONED.own(request.param, tmp_path)


@contextmanager
def serving(url: str, older: Sequence[Version] = OLDER, **settings: Any) -> Iterator[Client]:
    """The app, asked by whole paths."""
    with Client(versioned(url, older, **settings)) as client:
        yield client


def get(client: Client, path: str, **options: Any) -> Answer:
    """`GET` of a whole path."""
    return client.get(path, base="", **options)


DECLARED = [
    ([Renamed(Score.value, was="mode")], "two fields that are called mode"),
    ([Renamed(Score.player, was="mode")], "two members that are called mode"),
    ([Renamed(Score, was="players")], "two resources are called players"),
    ([Renamed(Score.value, was="a.b")], "cannot have been called 'a.b'"),
    ([Renamed(Score, was="a/b")], "cannot have been called 'a/b'"),
    ([Renamed("scores.valu", was="x")], "there is no scores.valu. Perhaps you meant 'value'."),
    ([Renamed("score", was="x")], "is of no resource. Perhaps you meant 'scores'."),
    ([Renamed(Note, was="x")], "is of no resource"),
    ([Added(Score.combo)], "version v1 has no scores.combo, which a new row needs: give it a default."),
    ([Added(Score.combo, default="much")], "scores.combo cannot be 'much' by default: it is integer."),
    ([Added(Score.combo, default=None)], "scores.combo cannot be None by default"),
    ([Required(Score.value, default=-1)], "scores.value cannot be -1 by default"),
    ([Added(Score.player_id, default=1)], "scores.player_id has a default, and the server sets it."),
    ([Added(Score.id)], "scores cannot be without its key"),
    ([Required(Score.player, default=1)], "scores.player is no column that could be required"),
    ([Removed(Score.combo)], "the current version has no scores.combo, which a new row needs"),
    ([Removed(Score.note, answer=1)], "scores.note is in the model"),
    ([Removed("scores.rank")], "no model has scores.rank: say its answer=."),
    ([Removed("scores.rank", answer=[1])], "rank can be a text, a number, a boolean or None, not [1]."),
    ([Removed("scores.my rank", answer=1)], "no field can have been called 'my rank'"),
    ([Renamed(Score.value, was="rank"), Removed("scores.rank", answer=1)], "scores has rank already"),
]


@pytest.mark.parametrize(("changes", "message"), DECLARED)
def test_a_declaration_that_cannot_be_kept_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    """When the app starts, in words that say which version, which field and what to do."""
    app = versioned(f"sqlite:///{tmp_path / 'none.db'}", [Version("v1", changes)])
    with pytest.raises(OperatorError, match=re.escape(message)):
        app.start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "V 1"}, "a name is like v1"),
        ({"name": "v1/x"}, "a name is like v1"),
        ({"deprecated": TOMORROW, "sunset": YESTERDAY}, "sunset is before deprecated"),
        ({"gone_after_sunset": True}, "gone_after_sunset needs a sunset"),
        ({"guide": "https://x> evil"}, "is no URL"),
    ],
)
def test_a_version_that_makes_no_sense_is_refused(options: Any, message: str) -> None:
    """Where it is declared."""
    with pytest.raises(OperatorError, match=message):
        Version(**{"name": "v1"} | options)


def test_versions_are_declared_once_and_before_accounts(tmp_path: Path) -> None:
    """The endpoints of accounts are placed below each version's path."""
    app = Backstay("people", config=quiet(tmp_path / "none.db"))
    with pytest.raises(OperatorError, match="v2 is declared twice"):
        app.versions("v2", Version("v1"), Version("v2"))
    app.accounts(Person, OPTIONS)
    with pytest.raises(OperatorError, match=r"before app\.accounts"):
        app.versions("v2", Version("v1"))


def test_a_version_ends_where_it_says_so(url: str) -> None:
    """410 with what succeeds it, after its end and not before; without `gone_after_sunset` it is only announced."""
    ended = Version("v2", OLDER[0].changes, sunset=YESTERDAY, gone_after_sunset=True)
    ends = Version("v1", OLDER[1].changes, sunset=TOMORROW, gone_after_sunset=True)
    with serving(url, [ended, ends]) as client:
        answer = get(client, "/api/v2/scores/1")
        assert (answer.status, answer.json["code"]) == (410, "VERSION_GONE")
        assert answer.json["detail"] == f"Version v2 of the API ended on {YESTERDAY}."
        assert answer.headers["link"] == '</api/v3/scores/1>; rel="successor-version"'
        assert client.request("POST", "/scores", base="/api/v2", credential=ADA, body={"points": 1}).status == 410
        assert get(client, "/api/v2/openapi.json").status == 410
        assert get(client, "/api/v1/results/1").status == 200
        assert Contract(client.app.openapi("v2")).faults("GET", "/api/v2/scores/{key}", answer) == []
    with serving(url) as client:
        assert OLDER[1].sunset == date(2026, 1, 1)
        assert get(client, "/api/v1/results/1").status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/results", 200),
        ("/api/v1/results/1", 200),
        ("/api/v1/results?nothing=1", 400),
        ("/api/v1/results/77", 404),
        ("/api/v1/nothing", 404),
        ("/api/v1/openapi.json", 200),
    ],
)
def test_every_answer_of_an_older_version_says_when_it_ends(url: str, path: str, status: int) -> None:
    """`Deprecation` (RFC 9745) and `Sunset` (RFC 8594), refusals too; the current version says nothing."""
    with serving(url) as client:
        where, _, query = path.partition("?")
        answer = get(client, where, query=query)
        assert answer.status == status
        assert answer.headers["deprecation"] == f"@{int(datetime(2025, 10, 1, tzinfo=UTC).timestamp())}"
        assert answer.headers["sunset"] == "Thu, 01 Jan 2026 00:00:00 GMT"
        for current in ("/api/v3/scores", "/api/v3/nothing", "/openapi.json", "/health/live"):
            assert not {"deprecation", "sunset"} & get(client, current).headers.keys()


def test_instants_are_told_in_utc() -> None:
    """A date is its midnight; an instant of another zone is the same instant."""
    east = timezone(timedelta(hours=2))
    version = Version("v1", sunset=datetime(2026, 1, 1, 1, tzinfo=east))
    assert version.sunset_at == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert Version("v1", deprecated=datetime(2026, 1, 1)).deprecated_at == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "successor"),
    [
        ("/api/v1/results", "/api/v2/scores"),
        ("/api/v1/results/1", "/api/v2/scores/1"),
        ("/api/v1/results/1/user", "/api/v2/scores/1/player"),
        ("/api/v1/results/1/medals", "/api/v2/scores/1/medals"),
        ("/api/v1/results/aggregate", "/api/v2/scores/aggregate"),
        ("/api/v2/awards", "/api/v3/medals"),
        ("/api/v2/players/1%3E%0D%0A/x", "/api/v3/players/1%3E%0D%0A/x"),
        ('/api/v2/players/<>"', "/api/v3/players/%3C%3E%22"),
        ("/api/v2/nothing", None),
    ],
)
def test_the_successor_is_the_same_thing_in_the_next_version(url: str, path: str, successor: str | None) -> None:
    """`successor-version` (RFC 5829) under the names of there."""
    with serving(url, [Version("v2", OLDER[0].changes), OLDER[1]]) as client:
        link = get(client, path).headers.get("link", "")
        assert link == ("" if successor is None else f'<{successor}>; rel="successor-version"')


def test_links_of_pages_and_of_versions_stand_side_by_side(url: str) -> None:
    """Neither is lost: the guide, the pages and the successor."""
    sent: list[Any] = []
    with serving(url) as client:
        real = client.app

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            async def keep(message: Any) -> None:
                sent.append(message)
                await send(message)

            await real(scope, receive, keep)

        client.app = watched  # type: ignore[assignment]
        client.loop.run_until_complete(client.send("GET", "/api/v2/scores", "limit=1", base=""))
        client.app = real
    links = [value.decode() for name, value in sent[0]["headers"] if name == b"link"]
    rels = [re.search(r'rel="([\w-]+)"', link).group(1) for link in ", ".join(links).split(", ")]  # type: ignore[union-attr]
    assert sorted(rels) == ["deprecation", "first", "last", "next", "successor-version"]


def test_a_resource_has_one_limit_for_all_versions(url: str) -> None:
    """Whoever changes the version gets no more."""
    with serving(url, rate_limit="100/minute") as client:
        paths = ("/api/v1/results", "/api/v2/scores", "/api/v3/scores", "/api/v1/results")
        assert [get(client, path).status for path in paths] == [200, 200, 200, 429]
        assert get(client, "/api/v1/players").status == 200


def test_older_versions_answer_json_alone(url: str) -> None:
    """As the current one: 406 before any routing."""
    with serving(url) as client:
        more = [(b"accept", b"text/html")]
        assert [get(client, f"/api/{v}/players", more=more).status for v in ("v1", "v2", "v3")] == [406] * 3


def test_an_app_with_one_version_takes_the_short_way(tmp_path: Path) -> None:
    """No look at versions on its requests; with older ones there is."""
    plain = versioned(VERSIONED.own("sqlite", tmp_path), [])
    runtime = plain.start()
    assert runtime.versions.find_any == runtime.routes.find
    with Client(plain):
        pass
    with serving(VERSIONED.own("sqlite", tmp_path)) as client:
        runtime = client.app.start()
        assert runtime.versions.find_any == runtime.versions.find


def test_usage_is_counted_by_version_and_caller(url: str) -> None:
    """Who uses an older version: in the metrics how many, in the log who, by requests of any outcome."""
    written = io.StringIO()
    app = versioned(url, log_level="warning")
    with Client(app) as client:
        runtime = app.start()
        log = Log("json", "warning", written)
        for older in runtime.versions.older:
            older.log = log
        for _ in range(3):
            get(client, "/api/v1/results", credential=ADA)
        get(client, "/api/v1/nothing", peer="198.51.100.7")
        get(client, "/api/v2/scores", credential=bearer(2))
        get(client, "/api/v3/scores", credential=bearer(3))
        metrics = get(client, "/metrics").body.decode()
        assert 'backstay_version_requests_total{version="v1"} 4.0' in metrics
        assert 'backstay_version_requests_total{version="v2"} 1.0' in metrics
        assert 'backstay_version_callers{version="v1"} 2.0' in metrics
        assert 'version="v3"' not in metrics
    events = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {event["event"] for event in events} == {"version_used"}
    used: dict[tuple[str, str], int] = {}
    for event in events:
        key = (event["version"], event["caller"])
        used[key] = used.get(key, 0) + event["requests"]
    assert used == {("v1", "user:1"): 3, ("v1", "ip:198.51.100.7"): 1, ("v2", "user:2"): 1}


def test_callers_are_bounded_and_reported_by_the_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new caller is told at once, a known one every hour, and one of too many with the others."""
    now = [0.0]
    monkeypatch.setattr("backstay.observe.time.monotonic", lambda: now[0])
    usage = Usage()
    assert usage.add("user:1") == {"user:1": 1}
    assert usage.add("user:1") == {}
    assert usage.add("user:2") == {"user:2": 1}
    now[0] += REPORT_S + 1
    assert usage.add("user:1") == {"user:1": 2}
    assert usage.unreported() == {}
    told = [usage.add(f"ip:{number}") for number in range(CALLERS_MAX)]
    assert sum(map(len, told)) == CALLERS_MAX // 2 + 1
    told = [usage.add(f"user:{number}") for number in range(CALLERS_MAX)]
    assert len(usage.callers) == CALLERS_MAX
    assert usage.callers[OTHERS] > CALLERS_MAX // 2
    assert usage.count == sum(usage.callers.values())


#: Names that only some versions have, and those that a version must not tell.
NAMES = {
    "v1": ("results", "result", "user", "rank", "nick", "awards"),
    "v2": ("scores", "points", "player", "rank", "nick", "awards"),
    "v3": ("scores", "value", "player", "combo", "season", "seasons", "medals", "drafts"),
}
FOREIGN = {
    "v1": ("points", "combo", "season", "season_id", "seasons", "drafts"),
    "v2": ("result", "results", "combo", "season", "season_id", "seasons", "drafts"),
    "v3": ("result", "results", "points", "rank", "nick", "awards"),
}


@pytest.mark.parametrize("version", NAMES)
def test_each_version_has_a_contract_of_its_own(url: str, version: str) -> None:
    """Valid, with its own names and no others, of exactly its routes, and true of its answers."""
    with serving(url) as client:
        found = get(client, f"/api/{version}/openapi.json").json
        assert found == client.app.openapi(version)
        schemathesis.openapi.from_dict(found).validate()
        text = json.dumps(found)
        used = set(re.findall(r'"\$ref": "#/components/([^"]+)"', text))
        assert used == {f"{s}/{n}" for s, parts in found["components"].items() for n in parts if s[:8] != "security"}
        assert not [name for name in FOREIGN[version] if re.search(rf'"{name}"|/{name}\b', text)]
        assert all(f'"{name}' in text or f"/{name}" in text for name in NAMES[version])
        base = f"/api/{version}/"
        assert {p for p in found["paths"] if p.startswith("/api/")} == {p for p in found["paths"] if base in p}
        routed = {route.path for route in client.app.routes() if route.path.startswith(base)}
        routed |= {route.path for _, route in client.app.routes_of_older() if route.path.startswith(base)}
        assert routed | {f"{base}openapi.json"} == {p for p in found["paths"] if p.startswith(base)}
        operations = [o for item in found["paths"].values() for m, o in item.items() if m != "parameters"]
        assert {o.get("deprecated", False) for o in operations} == {version != "v3"}
        scores = "results" if version == "v1" else "scores"
        row = f"{base}{scores}/{{key}}"
        for template, path in ((f"{base}{scores}", scores), (row, f"{scores}/1"), (row, f"{scores}/x")):
            assert Contract(found).faults("GET", template, get(client, base + path)) == []


def test_the_plain_contract_is_the_current_one(url: str) -> None:
    """`/openapi.json` and the page `/docs` stay where they were; each version has a page of its own."""
    with serving(url) as client:
        assert get(client, "/openapi.json").json == client.app.openapi()
        assert client.app.openapi() == client.app.openapi("v3")
        for page, shown in (("/docs", "/openapi.json"), ("/docs/v1", "/api/v1/openapi.json")):
            answer = get(client, page)
            assert answer.status == 200
            assert f'data-url="{shown}"' in answer.body.decode()
        assert get(client, "/docs/v0").status == 404
        with pytest.raises(OperatorError, match="has no version 'v0'"):
            client.app.openapi("v0")


def test_bodies_of_the_contract_are_those_of_the_version(url: str) -> None:
    """What may be left out, and what is only ignored."""
    with serving(url) as client:
        bodies = {v: client.app.openapi(v)["components"]["schemas"] for v in NAMES}
    assert bodies["v1"]["ResultCreate"]["required"] == ["result"]
    assert bodies["v2"]["ScoreCreate"]["required"] == ["points", "mode"]
    assert bodies["v3"]["ScoreCreate"]["required"] == ["value", "combo", "mode"]
    with serving(url) as client:
        told = client.app.openapi("v2")["info"]
    assert told["version"] == "v2"
    assert told["description"] == (
        "Deprecated since 2026-10-01. Ends on 2099-01-01. How to move on: https://example.com/to-v3"
    )
    assert "Ignored" in bodies["v1"]["ResultCreate"]["properties"]["rank"]["description"]
    assert set(bodies["v1"]["Result"]["properties"]) >= {"result", "rank", "user", "medals"}


@pytest.mark.parametrize("database", DATABASES)
def test_accounts_are_served_in_every_version(database: str, tmp_path: Path) -> None:
    """The same endpoints below each path; who signs in through one is known to all, also with a dead token."""
    app = Backstay("people", config=quiet(PEOPLE.own(database, tmp_path)))
    app.versions("v2", Version("v1", [Renamed(Note.text, was="body")], deprecated=YESTERDAY))
    app.accounts(Person, OPTIONS)
    app.resource(Note, read=public)
    given = {"email": "ada@example.org", "password": "purple-elephants-dance"}
    with Client(app) as client:
        assert client.post("/auth/register", given, base="/api/v1").status < 300
        login = {"login": given["email"], "password": given["password"]}
        dead = "Bearer " + "x" * 30
        for base in ("/api/v1", "/api/v2"):
            answer = client.post("/auth/login", login, base=base, credential=dead)
            assert answer.status == 200, answer.body
            credential = bearer_of(answer)
            assert client.get("/auth/me", base="/api/v2", credential=credential).status == 200
            assert ("deprecation" in answer.headers) is (base == "/api/v1")
        for version in ("v1", "v2"):
            found = app.openapi(version)
            schemathesis.openapi.from_dict(found).validate()
            assert f"/api/{version}/auth/login" in found["paths"]
            ids = [o["operationId"] for item in found["paths"].values() for m, o in item.items() if m != "parameters"]
            assert "authLogin" in ids
            assert not [name for name in ids if name.endswith("2")]
    assert Base.metadata.tables


APP = """
import sys
from support.versioned import versioned
app = versioned({url!r})
"""
LINES = [
    {"timestamp": "2026-11-20T10:00:00.000+00:00", "event": "version_used", "version": "v1", "caller": "user:7"},
    {"timestamp": "2026-11-21T10:30:00.000+00:00", "event": "version_used", "version": "v1", "caller": "user:7"},
    {"timestamp": "2026-11-21T09:00:00.000+00:00", "event": "version_used", "version": "v1", "caller": "key:3"},
]


def test_the_command_names_versions_and_who_uses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sums of all processes' logs; a line that is none, or of something else, is passed over."""
    (tmp_path / "app.py").write_text(APP.format(url=f"sqlite:///{tmp_path / 'none.db'}"))
    log = [json.dumps(line | {"requests": 600}) for line in LINES]
    (tmp_path / "server.log").write_text(
        "\n".join([*log, "text version_used", '{"event": "request"}', '{"version_used"'])
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def said(*words: str) -> str:
        done = ran([*words], monkeypatch, capsys)
        return done.out if not done.code else f"{done.code} {done.err}"

    assert said("versions", "--log", "missing.log").startswith("2 error: The log missing.log cannot be read")
    assert said("versions", "--log", "server.log").splitlines() == [
        "v3        /api/v3         current",
        "v2        /api/v2         deprecated 2026-10-01, sunset 2099-01-01",
        "v1        /api/v1         deprecated 2025-10-01, sunset 2026-01-01",
        "          user:7                       1,200 requests, last reported 2026-11-21 10:30",
        "          key:3                          600 requests, last reported 2026-11-21 09:00",
    ]
    told = json.loads(said("versions", "--log", "server.log", "--json"))
    assert [row["version"] for row in told] == ["v3", "v2", "v1"]
    assert "/api/v1/results" in json.loads(said("openapi", "--version", "v1"))["paths"]
    assert "GET    /api/v1/results" in said("routes")


def test_a_name_may_have_meant_something_else_before(tmp_path: Path) -> None:
    """What is added since may have the name that another field, or another resource, had."""
    changes = [
        Renamed(Score.value, was="combo"),
        Added(Score.combo, default=1),
        Renamed(Medal, was="seasons"),
        Added(Season),
        Renamed(Player.name, was="nick"),
        Added(Player.nick),
    ]
    with serving(VERSIONED.own("sqlite", tmp_path), [Version("v2", changes)]) as client:
        row = get(client, "/api/v2/scores/1", query="include=player").data
        assert row["combo"] == 100
        assert row["player"]["nick"] == "ada"
        assert get(client, "/api/v2/seasons/1").data["title"] == "gold"
        made = client.request("POST", "/scores", base="/api/v2", credential=ADA, body={"combo": 5, "mode": "x"})
        assert made.data["combo"] == 5
        assert get(client, f"/api/v3/scores/{made.data['id']}").data["combo"] == 1


def test_an_existing_database_has_versions_too(tmp_path: Path) -> None:
    """Without models, resources and fields are named as text."""
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as database:
        database.executescript(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, label TEXT NOT NULL);"
            "CREATE TABLE sales (id INTEGER PRIMARY KEY, item_id INTEGER REFERENCES items (id));"
            "INSERT INTO items VALUES (1, 'pen'); INSERT INTO sales VALUES (5, 1);"
        )
    app = Backstay("shop", config=quiet(file), schema=reflect(f"sqlite:///{file}"))
    for name in app.schema.tables:
        app.resource(name, read=public)
    way = next(iter(app.catalog().resources["sales"].relationships))
    changes = [
        Renamed("items.label", was="name"),
        Renamed(f"sales.{way}", was="thing"),
        Renamed("sales", was="orders"),
    ]
    app.versions("v2", Version("v1", changes))
    with Client(app) as client:
        row = get(client, "/api/v1/orders/5", query="include=thing").data
        assert row == {"id": 5, "item_id": 1, "thing": {"id": 1, "name": "pen"}}
        assert get(client, "/api/v2/sales/5", query=f"include={way}").data[way] == {"id": 1, "label": "pen"}


def test_a_taken_value_is_told_though_a_default_was_filled_in(url: str) -> None:
    """What the rules would have said of the whole row, its default included, comes first."""
    app = Backstay("arcade", config=quiet(url))
    app.versions("v2", Version("v1", [Added(Score.combo, default=7), Required(Score.mode, default="classic")]))
    rule = (Score.combo == 7) & (Score.mode == "classic") & (Score.value < 50)
    app.resource(Score, read=public, create=rule, stamp={Score.player_id: me.id})
    with Client(app) as client:
        options: Any = {"base": "/api/v1", "credential": ADA}
        taken = client.request("POST", "/scores", body={"value": 1, "note": "first"}, **options)
        assert (taken.status, taken.json["errors"][0]["field"]) == (409, "note")
        refused = client.request("POST", "/scores", body={"value": 60, "note": "first"}, **options)
        assert (refused.status, refused.json["code"]) == (403, "FORBIDDEN")
        assert client.request("POST", "/scores", body={"value": 1, "note": "new"}, **options).status == 201
        other = client.request("POST", "/scores", body={"value": 1, "combo": 8, "mode": "x"}, credential=ADA)
        assert other.status == 403
