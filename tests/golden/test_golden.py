"""Golden files: a request and who asks → the SQL of each dialect with its parameters → the answer.

Each file in `cases/` opens with what is asked; the rest is written by `make golden` (GOLDEN_REWRITE=1) and read by
people: a change of SQL is a change of these files. Compared, never written, in CI.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backstay.db.postgres_engine import PostgresDatabase
from backstay.db.sqlite_engine import SqliteDatabase
from support.asgi import Answer, Client, bearer
from support.databases import DATABASES
from support.pretty import pretty
from support.samples import Sample
from support.twins import NOW, same_text
from support.world import world
from support.worlds import WORLD

CASES = sorted((Path(__file__).parent / "cases").glob("*.txt"))
REWRITE = os.environ.get("GOLDEN_REWRITE") == "1"
PRINCIPALS = {
    "anonymous": "",
    "ada": bearer(1),
    "bob": bearer(2),
    "admin": bearer(900, roles=["admin"]),
}
_DIVIDER = "\n-- "
_REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}")


@dataclass(slots=True)
class Recorded:
    """The statements that ran, with their parameters."""

    statements: list[tuple[str, list[Any]]] = field(default_factory=list[tuple[str, list[Any]]])


@dataclass(frozen=True, slots=True)
class Case:
    """What a file asks."""

    head: str
    method: str
    path: str
    query: str
    principal: str
    body: Any

    @classmethod
    def read(cls, text: str) -> "Case":
        """The case of a file's text: comments, a request line, `as:` and a JSON body."""
        head = text.partition(_DIVIDER)[0].rstrip()
        lines = [line for line in head.splitlines() if line and not line.startswith("#")]
        method, url = lines[0].split(" ", 1)
        path, _, query = url.partition("?")
        principal = next((line.removeprefix("as: ") for line in lines if line.startswith("as: ")), "anonymous")
        body = next((json.loads(line) for line in lines[1:] if line.startswith(("{", "["))), None)
        return cls(head, method, path, query, principal, body)


#: The class of each database.
ENGINES: dict[str, type[Any]] = {"sqlite": SqliteDatabase, "postgresql": PostgresDatabase}
Records = dict[str, Recorded]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Records:
    """Every statement that each database is given, also those for refusals."""
    return {name: recording(monkeypatch, engine) for name, engine in ENGINES.items()}


def recording(monkeypatch: pytest.MonkeyPatch, engine: type[Any]) -> Recorded:
    """What a database of this class is given from now on."""
    found = Recorded()
    for way in ("read", "write"):
        wrapped: Any = getattr(engine, way)

        def given(self: Any, statement: Any, parameters: Any, context: Any, wrapped: Any = wrapped) -> Any:
            found.statements.append((statement.text, list(parameters)))
            return wrapped(self, statement, parameters, context)

        monkeypatch.setattr(engine, way, given)
    return found


@pytest.fixture
def clients(tmp_path: Path, recorded: Records) -> Iterator[dict[str, Client]]:
    """The world, as seeded, over each database."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Client(world(WORLD.own(name, tmp_path), sample=Sample))) for name in DATABASES
        }


def body_of(answer: Answer) -> str:
    """The answer's JSON, a line for each row; what differs from run to run is left out."""
    if not answer.body:
        return ""
    found = answer.json
    if answer.status >= 400:
        kept = ("code", "detail", "errors", "hint")
        return json.dumps({name: found[name] for name in kept}, ensure_ascii=False, indent=1)
    data = found["data"]
    rows = data if isinstance(data, list) else [data]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    shown = "[\n  " + ",\n  ".join(lines) + "\n]" if isinstance(data, list) and data else ",".join(lines) or "[]"
    meta = f"\n{json.dumps(found['meta'])}" if "meta" in found else ""
    return shown + meta


def rendered(case: Case, answer: Answer, recorded: Records) -> str:
    """The file as it should be: the statements of each database, and the answer that both give."""
    parts = [case.head]
    for name, record in recorded.items():
        for text, parameters in record.statements:
            parts.append(f"-- {name}\n{pretty(text)}")
            given = json.dumps(parameters, ensure_ascii=False, default=shown)
            parts.append(f"-- parameters\n{_REQUEST_ID.sub('the request', given)}")
    parts.append(f"-- answer {answer.status}\n{body_of(answer)}".rstrip())
    return NOW.sub("<now>", "\n\n".join(parts)) + "\n"


def shown(value: Any) -> str:
    """A parameter that JSON does not have; PostgreSQL's are text, in bytes."""
    return value.decode() if isinstance(value, bytes) else repr(value)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_request_becomes_this_sql_and_this_answer(
    path: Path, clients: dict[str, Client], recorded: Records
) -> None:
    """The SQL of each dialect, its parameters and the one answer are what the file says."""
    text = path.read_text(encoding="utf-8")
    case = Case.read(text)
    credential = PRINCIPALS[case.principal]
    answers = {
        name: client.request(case.method, case.path, case.query, body=case.body, credential=credential)
        for name, client in clients.items()
    }
    answer = answers["sqlite"]
    assert answer.status < 500
    for other in answers.values():
        assert (other.status, same_text(other.body)) == (answer.status, same_text(answer.body))
    found = rendered(case, answer, recorded)
    if REWRITE:
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8"), "run `make golden`, and read the diff"
    if case.method == "GET" and answer.status == 200:
        assert [len(record.statements) for record in recorded.values()] == [1, 1]


def test_there_are_enough_cases() -> None:
    """An empty folder would pass without a word."""
    assert len(CASES) >= 40


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_no_value_is_in_the_sql(path: Path) -> None:
    """What the request said is among the parameters; the SQL has none of it but the page size."""
    case = Case.read(path.read_text(encoding="utf-8"))
    sections = path.read_text(encoding="utf-8").split(_DIVIDER)
    sql = "\n".join(section for section in sections if section.startswith(DATABASES))
    values = [part.partition("=") for part in case.query.split("&") if part]
    filters = [v for n, _, v in values if n.partition("[")[0] not in _WORDS and not n.endswith("[is]")]
    given = [str(v) for v in (case.body or {}).values()] if isinstance(case.body, dict) else []
    for value in [*filters, *given]:
        assert value == "" or not re.search(rf"(?<![\w.$]){re.escape(value)}(?![\w.])", sql), value


_WORDS = ("sort", "page", "limit", "cursor", "count", "include", "fields", "group", "select", "or", "and")
