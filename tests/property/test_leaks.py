"""Leaks: no answer depends on what its principal may not know, whatever the schema, the rules and the rows.

Two worlds that look the same to a principal, by a direct evaluation of the rules, must answer it with the same bytes:
rows, totals, pages, orders, aggregates, histories, refusals, hints, headers and the number of statements. And what
they show is what that evaluation says may be seen. So must every write, single or compound, and all that is read
after it, as long as what it does looks the same in both worlds too.

What no rule can hide is left out: that a unique value is taken, that a row is still referred to, and how many keys or
changes have been numbered. The worlds have no unique columns, and such numbers are not compared.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st

from support.asgi import Answer, Client, sync_engine
from support.databases import DATABASES
from support.guarded import Guarded, Hall, halls, principals
from support.guarded_rules import Who
from support.guarded_sight import disturb, passable, sees, shown
from support.leak_probes import Probe, Writes, draw_read
from support.leak_stories import CHANGE, DIGEST, PROBES, Teller, Told, compare, compare_databases, counted
from support.postgres import fresh_database
from support.schemas import text_of
from support.twins import same_text

#: Worlds to try; a long run takes thousands.
EXAMPLES = int(os.environ.get("LEAKS_EXAMPLES", "20"))
READS, STORIES, DISTURBANCES = 25, 4, 60
_TIMES = re.compile(r"[a-z]+;dur=[0-9.]+(, )?")
_HEADERS = ("etag", "link", "allow", "www-authenticate", "server-timing")


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A database of each kind, whose tables each example makes anew."""
    path = tmp_path_factory.mktemp("leaks") / "made.db"
    yield {"sqlite": f"sqlite:///{path}", "postgresql": fresh_database()}
    print(counted())


@contextmanager
def served(urls: dict[str, str], hall: Hall) -> Iterator[dict[str, tuple[Client, sa.Engine]]]:
    """The app over empty tables in each database."""
    Path(urls["sqlite"].removeprefix("sqlite:///")).unlink(missing_ok=True)
    with psycopg.connect(urls["postgresql"], autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    opened: dict[str, tuple[Client, sa.Engine]] = {}
    for name in DATABASES:
        engine = sync_engine(urls[name])
        hall.base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(sa.insert(hall.base.metadata.tables["tenants"]), [{"id": 1}, {"id": 2}])
        opened[name] = (Client(hall.app(urls[name])), engine)
        opened[name][0].get("/t0")  # makes the change log
    try:
        yield opened
    finally:
        for client, engine in opened.values():
            client.__exit__()
            engine.dispose()


def ask(client: Client, who: Who, probe: Probe) -> list[Any]:
    """All that an answer tells, and the next page's where there is a cursor to it."""
    method, path, pairs, body, _ = probe
    told: list[Any] = []
    for _ in range(4):
        answer = client.request(method, path, pairs, body=body, credential=who.credential)
        assert answer.status < 500, (probe, answer.body)
        PROBES["read", "asked"] += 1
        told += told_by(answer)
        paged = answer.body and answer.status == 200 and not path.endswith("/export")
        following = answer.json.get("meta", {}).get("next_cursor") if paged else None
        if following is None:
            break
        pairs = [pair for pair in pairs if pair[0] != "cursor"] + [("cursor", following)]
    return told


def told_by(answer: Answer) -> list[Any]:
    """Status, body and headers, without what no two answers share."""
    headers = {name: _TIMES.sub("", answer.headers.get(name, "")) for name in _HEADERS}
    text = same_text(answer.body, ())
    if '"operation":' not in text:
        return [answer.status, text, headers]
    # Changes are numbered, whoever sees them, and the numbers are in the validator.
    return [answer.status, DIGEST.sub("", CHANGE.sub("", text)), headers | {"etag": ""}]


# A world takes a second: to shrink one would take minutes, and its description says enough.
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(hall=halls(), data=st.data())
def test_no_answer_depends_on_what_one_may_not_know(urls: dict[str, str], hall: Hall, data: st.DataObject) -> None:
    """Hidden rows come, go and change, hidden fields change: every answer stays as it was, on both databases."""
    who = data.draw(principals(hall))
    other, changes = disturb(data.draw, hall, who, DISTURBANCES)
    event(f"changes: {min(changes, 5)}")
    worlds = st.sampled_from([hall, other])
    reads = [draw_read(data.draw, data.draw(worlds)) for _ in range(READS)]
    stories = [Writes(data.draw(st.integers(0, 2**32)), data.draw(worlds), who).story() for _ in range(STORIES)]
    note(described(hall, other, who))
    with served(urls, hall) as opened:
        told = {
            name: [answers(*opened[name], world, who, reads, stories) for world in (hall, other)] for name in opened
        }
    alike: list[int] = [len(story) for story in stories]
    for name, (mine, others) in told.items():
        for first, second, probe in zip(mine[0], others[0], reads, strict=True):
            assert first == second, (name, probe)
        for place, (first, second, story) in enumerate(zip(mine[1], others[1], stories, strict=True)):
            alike[place] = min(alike[place], compare(story, (hall, other), who, first, second))
    one, two = (told[name][0] for name in DATABASES)
    for first, second, probe in zip(one[0], two[0], reads, strict=True):
        assert first == second, probe
    for first, second, story, count in zip(one[1], two[1], stories, alike, strict=True):
        compare_databases(story[:count], first, second)


def answers(
    client: Client, engine: sa.Engine, hall: Hall, who: Who, reads: list[Probe], stories: list[list[Probe]]
) -> tuple[list[list[Any]], list[list[Told]]]:
    """What a world tells when it is asked all this; each story finds it as it was."""
    hall.fill(engine)
    check_shown(client, hall, who)
    found = [ask(client, who, probe) for probe in reads]
    told: list[list[Told]] = []
    for story in stories:
        told.append(Teller(client, who, list(hall.models)).tell(story))
        if any(each.status < 300 for each in told[-1]):
            hall.fill(engine)
    return found, told


def described(hall: Hall, other: Hall, who: Who) -> str:
    """A world in words, for who looks for the leak."""
    lines = [repr(who)]
    for model in hall.models.values():
        marks = [word for word in ("tenant", "soft", "stamped") if getattr(model, word)]
        lines += [f"{model.name} {marks} {model.references} {model.links}", f"  {model.rules}", f"  {model.fields}"]
        lines += [f"  refers {model.refers}"]
        lines += [f"  {row}" for row in model.rows]
        lines += [f"  - {row}" for row in model.rows if row not in other.models[model.name].rows]
        lines += [f"  + {row}" for row in other.models[model.name].rows if row not in model.rows]
    lines += [f"- {change}" for change in hall.log if change not in other.log]
    lines += [f"+ {change}" for change in other.log if change not in hall.log]
    return "\n".join(lines)


def check_shown(client: Client, hall: Hall, who: Who) -> None:
    """Lists, items, totals, includes and aggregates show what may be seen, and all of it."""
    for model in hall.models.values():
        rows = [row for row in sorted(model.rows, key=lambda r: r["id"]) if sees(hall, model, row, who)]
        expected = [wire(shown(hall, model, row, who)) for row in rows]
        answer = client.get(f"/{model.name}", "sort=id&limit=100", credential=who.credential)
        if answer.status != 200:
            assert answer.status in (401, 403)
            assert not rows
            continue
        assert answer.data == expected
        assert answer.meta["total"] == len(expected)
        for key in (*range(1, 10), 60):
            found = client.get(f"/{model.name}/{key}", credential=who.credential)
            shows = [found.data] if found.status == 200 else []
            assert shows == [row for row in expected if row["id"] == key]
        measured = client.get(f"/{model.name}/aggregate", "select=count,max(id)", credential=who.credential)
        assert measured.data == [{"count": len(rows), "max_id": max((row["id"] for row in rows), default=None)}]
        for way, name in (model.one | model.many).items():
            check_way(client, hall, who, model, way, hall.models[name])


def check_way(client: Client, hall: Hall, who: Who, model: Guarded, way: str, there: Guarded) -> None:
    """A relation leads to the rows over there that may be seen, by links that may be seen."""
    query = f"include={way}&fields=id&fields[{way}]=id&sort=id&limit=100"
    answer = client.get(f"/{model.name}", query, credential=who.credential)
    assert answer.status == (200 if passable(hall, model, way, who) else 400)
    if answer.status != 200:
        return
    for found in answer.data:
        row = next(row for row in model.rows if row["id"] == found["id"])
        ends = {other["id"] for other in hall.along(model, row, way) if sees(hall, there, other, who)}
        if way in model.links:
            name, here, far = model.links[way]
            link = hall.models[name]
            seen = {x[far] for x in link.rows if x[here] == row["id"] and sees(hall, link, x, who)}
            ends &= seen
        inside = found[way] if isinstance(found[way], list) else [found[way]] if found[way] else []
        assert {other["id"] for other in inside} == ends


def wire(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON has it."""
    return {n: text_of(v) if v is not None and n in ("price", *_MOMENTS) else v for n, v in row.items()}


_MOMENTS = ("deleted_at", "created_at", "updated_at")
