"""Leaks: no answer depends on what its principal may not know, whatever the schema, the rules and the rows.

Two worlds that look the same to a principal, by a direct evaluation of the rules, must answer it with the same bytes:
rows, totals, pages, orders, aggregates, refusals, hints, headers and the number of statements. And what they show is
what that evaluation says may be seen.

What no rule can hide is left out: that a unique value is taken, that a row is still referred to, and how many keys a
sequence has given. The worlds have no unique columns, and new keys are not compared.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st

from support.asgi import Answer, Client, sync_engine
from support.databases import DATABASES
from support.guarded import Guarded, Hall, after, disturb, draw_row, halls, passable, principals, sees, shown
from support.guarded_rules import Who
from support.made import draw_aggregate, draw_includes, draw_list
from support.postgres import fresh_database
from support.schemas import text_of
from support.seed import STAMPS
from support.twins import same_text

#: Worlds to try; a long run takes thousands.
EXAMPLES = int(os.environ.get("LEAKS_EXAMPLES", "20"))
#: When the rows were as they are: nothing has changed since.
PAST = "2026-01-02T03:04:06Z"
READS, WRITES, DISTURBANCES = 30, 8, 24
_TIMES = re.compile(r"[a-z]+;dur=[0-9.]+(, )?")
_HEADERS = ("etag", "link", "allow", "www-authenticate", "server-timing")

Probe = tuple[str, str, list[tuple[str, str]], Any]
PROBES: dict[str, int] = {}


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A database of each kind, whose tables each example makes anew."""
    path = tmp_path_factory.mktemp("leaks") / "made.db"
    yield {"sqlite": f"sqlite:///{path}", "postgresql": fresh_database()}
    print("probes:", PROBES)


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
    try:
        yield opened
    finally:
        for client, engine in opened.values():
            client.__exit__()
            engine.dispose()


def draw_read(draw: Any, hall: Hall) -> Probe:
    """A list, an item, a nested list, an aggregate, an export or a history, of anything that is there or not.

    As it is or was, by itself or in a batch.
    """
    model = hall.models[draw(st.sampled_from(sorted(hall.models)))]
    keys = st.sampled_from([*(row["id"] for row in model.rows), 60])
    kind = draw(
        st.sampled_from(["list", "list", "cursor", "item", "nested", "aggregate", "export", "history", "typo"])
    )
    path, pairs = f"/{model.name}", []
    if kind in ("list", "cursor", "typo", "export"):
        pairs = draw_list(draw, hall, model)
    if kind == "item":
        path, pairs = f"{path}/{draw(keys)}", _embedded(draw, hall, model)
    if kind == "history":
        path = f"{path}/{draw(keys)}/history"
    if kind == "nested" and model.many:
        way = draw(st.sampled_from(sorted(model.many)))
        path, pairs = f"{path}/{draw(keys)}/{way}", draw_list(draw, hall, hall.models[model.many[way]])
    if kind == "aggregate":
        path, pairs = f"{path}/aggregate", draw_aggregate(draw, hall, model)
    if kind == "export":
        path = f"{path}/export"
        pairs.append(("format", draw(st.sampled_from(["ndjson", "csv"]))))
    if kind == "typo":
        name = draw(st.sampled_from(sorted([*model.columns, *model.one, *model.many])))
        pairs.append((f"{name[:-1]}x", "1"))
    if kind in ("list", "item", "aggregate", "export") and model.soft and draw(st.integers(0, 3)) == 0:
        pairs.append(("with_deleted", draw(st.sampled_from(["true", "only"]))))
    if kind == "cursor":
        pairs += [("cursor", ""), ("limit", "2")]
    elif kind == "list":
        pairs += draw(st.sampled_from([[], [("limit", "1"), ("page", "2")], [("count", "false"), ("limit", "2")]]))
    if kind in ("list", "cursor", "item", "nested") and draw(st.integers(0, 4)) == 0:
        pairs.append(("as_of", PAST))
    if kind != "export" and draw(st.integers(0, 5)) == 0:
        operation = {"method": "GET", "path": f"{path}?{urlencode(pairs)}"}
        return "POST", "/batch", [], {"operations": [operation]}
    return "GET", path, pairs, None


def _embedded(draw: Any, hall: Hall, model: Guarded) -> list[tuple[str, str]]:
    pairs = draw_includes(draw, hall, model)
    paths = ",".join(value for name, value in pairs if name == "include")
    return [pair for pair in pairs if pair[0] != "include"] + ([("include", paths)] if paths else [])


def draw_write(draw: Any, hall: Hall) -> Probe:
    """A create, change, replacement, delete or restore of anything that is or is not there."""
    model = hall.models[draw(st.sampled_from(sorted(hall.models)))]
    method = draw(st.sampled_from(["POST", "POST", "PATCH", "PATCH", "PUT", "DELETE", "restore"]))
    key = draw(st.sampled_from([*(row["id"] for row in model.rows), 60]))
    if method == "DELETE":
        return "DELETE", f"/{model.name}/{key}", [], None
    if method == "restore":
        return "POST", f"/{model.name}/{key}/restore", [], None
    row = draw_row(draw, hall, model, 0)
    row |= {column: draw(st.sampled_from([row[column], *range(1, 10)])) for column in model.references}
    settable = [
        name for name in model.columns if name in row and name not in ("id", "tenant_id", "deleted_at", *STAMPS)
    ]
    names = draw(st.lists(st.sampled_from(settable), max_size=4, unique=True))
    body = {name: str(row[name]) if name == "price" and row[name] is not None else row[name] for name in names}
    if method != "POST":
        return method, f"/{model.name}/{key}", [], body
    above = [(there.name, way) for there in hall.models.values() for way, n in there.many.items() if n == model.name]
    if above and draw(st.booleans()):
        parent, way = draw(st.sampled_from(above))
        return method, f"/{parent}/{draw(st.integers(1, 9))}/{way}", [], body
    return method, f"/{model.name}", [], body


def ask(client: Client, who: Who, probe: Probe, new: str | None = None) -> list[Any]:
    """All that an answer tells, and the next page's where there is a cursor to it.

    Args:
        new: the key of a row that was just written, or nothing: then times of now are among the answer's.
    """
    method, path, pairs, body = probe
    told: list[Any] = []
    for _ in range(4):
        answer = client.request(method, path, pairs, body=body, credential=who.credential)
        assert answer.status < 500, (probe, answer.body)
        PROBES[method] = PROBES.get(method, 0) + 1
        told += told_by(answer, new)
        paged = answer.body and answer.status == 200 and not path.endswith("/export")
        following = answer.json.get("meta", {}).get("next_cursor") if paged else None
        if following is None:
            break
        pairs = [pair for pair in pairs if pair[0] != "cursor"] + [("cursor", following)]
    return told


def write(client: Client, who: Who, probe: Probe, names: list[str]) -> list[Any]:
    """What a write tells, and if it was taken what lists tell after it."""
    method, path, _, body = probe
    PROBES[method] = PROBES.get(method, 0) + 1
    answer = client.request(method, path, body=body, credential=who.credential)
    assert answer.status < 500, (probe, answer.body)
    *_, made, new = ["", "", *answer.headers.get("location", "").split("/")]
    told = told_by(answer, new)
    for name in names if answer.status < 300 else ():
        told += ask(client, who, ("GET", f"/{name}", [], None), new if name == made else "")
    return told


def told_by(answer: Answer, new: str | None) -> list[Any]:
    """Status, body and headers, without what no two answers share."""
    body = same_text(answer.body, ())
    headers = {name: _TIMES.sub("", answer.headers.get(name, "")) for name in _HEADERS}
    if new is not None:
        return [answer.status, re.sub(rf'"id":{new}\b', '"id":0', body) if new else body, headers | {"etag": ""}]
    return [answer.status, body, headers]


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
    reads = [draw_read(data.draw, data.draw(st.sampled_from([hall, other]))) for _ in range(READS)]
    writes = [draw_write(data.draw, data.draw(st.sampled_from([hall, other]))) for _ in range(WRITES)]
    writes = [probe for probe in writes if foreseeable(probe, hall, other, who)]
    note(described(hall, other, who))
    with served(urls, hall) as opened:
        told = {
            name: [answers(*opened[name], world, who, reads, writes) for world in (hall, other)] for name in opened
        }
    for name, (mine, others) in told.items():
        for first, second, probe in zip(mine, others, [*reads, *writes], strict=True):
            assert first == second, (name, probe)
    for first, second, probe in zip(*(found[0] for found in told.values()), [*reads, *writes], strict=True):
        assert first == second, probe


def answers(
    client: Client, engine: sa.Engine, hall: Hall, who: Who, reads: list[Probe], writes: list[Probe]
) -> list[list[Any]]:
    """What a world tells when it is asked all this; each write finds it as it was."""
    hall.fill(engine)
    check_shown(client, hall, who)
    found = [ask(client, who, probe) for probe in reads]
    for probe in writes:
        found.append(write(client, who, probe, list(hall.models)))
        if found[-1][0] < 300:
            hall.fill(engine)
    return found


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
    return "\n".join(lines)


def foreseeable(probe: Probe, hall: Hall, other: Hall, who: Who) -> bool:
    """Whether what a write leaves looks the same in both worlds; else its answer may tell them apart.

    As a row that was made to refer to a hidden team may be shown or not by a rule about teams.
    """
    method, path, _, body = probe
    parts = path.removeprefix("/").split("/")
    model = hall.models[parts[0]]
    numbers = {row["id"] for row in model.rows}
    for column, name in model.references.items():
        # The row itself may get that number, and databases count refused ones differently.
        if method == "POST" and name == model.name and (body or {}).get(column) not in {None, *numbers}:
            return False
    return after(hall, who, method, parts, body) == after(other, who, method, parts, body)


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
