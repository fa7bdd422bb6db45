"""Recording of changes on PostgreSQL: one function, and a trigger on each table.

Whose a change is says a setting of the transaction: a write sets it in its own statement, a session when it begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy.dialects.postgresql import dialect as postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from ..errors import OperatorError
from ..sql.postgresql import BY_SETTING
from .recording import CHANGES, METADATA, Recorded

_DIALECT = postgresql()
_quote = _DIALECT.identifier_preparer.quote_identifier
TRIGGER = FUNCTION = "backstay_record_change"
#: How long a table that somebody has locked is waited for.
LOCK_MS = 10_000
LOCK_KEY = int.from_bytes(hashlib.sha256(b"backstay recording").digest()[:7])
#: `*=` compares rows byte by byte, whatever their types can do.
_BODY = """
DECLARE
  by_whom jsonb := nullif(current_setting('%(setting)s', true), '')::jsonb;
  keys text[] := TG_ARGV[0];
  was jsonb;
  is_now jsonb;
  this_row jsonb;
  this_key jsonb;
BEGIN
  IF TG_OP = 'UPDATE' AND OLD *= NEW THEN
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    was := to_jsonb(OLD);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    is_now := to_jsonb(NEW);
  END IF;
  this_row := coalesce(is_now, was);
  IF array_length(keys, 1) = 1 THEN
    this_key := jsonb_build_array(this_row -> keys[1]);
  ELSE
    SELECT jsonb_agg(this_row -> name ORDER BY place) INTO this_key
      FROM unnest(keys) WITH ORDINALITY AS k (name, place);
  END IF;
  IF TG_ARGV[1] <> '{}' THEN
    was := was - TG_ARGV[1]::text[];
    is_now := is_now - TG_ARGV[1]::text[];
  END IF;
  INSERT INTO %(table)s (table_name, key, operation, before, after, actor, tenant, request_id)
    VALUES (TG_TABLE_NAME, this_key::text,
      CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
      was, is_now, by_whom ->> 0, by_whom ->> 1, by_whom ->> 2);
  RETURN NULL;
END
"""
_FOUND = """
SELECT current_schema(),
  (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()
    AND tablename IN ('backstay_changes', 'backstay_idempotency')),
  (SELECT prosrc FROM pg_proc
    WHERE proname = 'backstay_record_change' AND pronamespace = current_schema()::regnamespace)
"""
_TRIGGERS = """
SELECT c.relname, CASE WHEN t.oid IS NULL THEN '' ELSE pg_get_triggerdef(t.oid) END
FROM pg_class c LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'backstay_record_change'
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
"""


def record_changes(connection: Any, tables: Sequence[Recorded]) -> None:
    """Make or mend what is missing of the tables, the function and the triggers, in one transaction.

    Args:
        connection: a `psycopg.pq.PGconn` that blocks.

    Raises:
        OperatorError: the user of the database may not do that.
    """

    def ask(text: str) -> list[tuple[str, ...]]:
        result = connection.exec_(text.encode())
        if result.error_message:
            said = result.error_message.decode(errors="replace").strip().splitlines()[0]
            connection.exec_(b"ROLLBACK")
            hint = "run `backstay db migrate` as the owner of the tables"
            raise OperatorError(f"Cannot record changes ({said.removeprefix('ERROR:').strip()}): {hint}.")
        return [
            tuple((result.get_value(row, i) or b"").decode() for i in range(result.nfields))
            for row in range(result.ntuples)
        ]

    if not missing(ask, tables):
        return
    ask("BEGIN")
    ask(f"SET LOCAL lock_timeout = '{LOCK_MS}ms'")
    ask(f"SELECT pg_advisory_xact_lock({LOCK_KEY})")
    for statement in missing(ask, tables):
        ask(statement)
    ask("COMMIT")


def missing(ask: Callable[[str], list[tuple[str, ...]]], tables: Sequence[Recorded]) -> list[str]:
    """The statements that make what is not there, or is there in another form."""
    ((schema, count, source),) = ask(_FOUND)
    made: list[str] = []
    if int(count) < len(METADATA.tables):
        made += [str(element.compile(dialect=_DIALECT)).strip() for element in _elements()]
    body = _BODY % {"table": f"{_quote(schema)}.{CHANGES.name}", "setting": BY_SETTING}
    if source != body:
        head = f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql"
        made.append(f"{head} AS $backstay${body}$backstay$")
    found = {row[0]: row[1] for row in ask(_TRIGGERS)}
    for recorded in tables:
        there = found.get(recorded.table.name)
        arguments = f"{FUNCTION}({_array(recorded.key)}, {_array(recorded.secret)})"
        if there is not None and not there.endswith(f" {arguments}"):
            event = f"AFTER INSERT OR UPDATE OR DELETE ON {_quote(recorded.table.name)}"
            made.append(f"CREATE OR REPLACE TRIGGER {TRIGGER} {event} FOR EACH ROW EXECUTE FUNCTION {arguments}")
    return made


def _elements() -> Iterator[CreateTable | CreateIndex]:
    for table in METADATA.sorted_tables:
        yield CreateTable(table, if_not_exists=True)
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield CreateIndex(index, if_not_exists=True)


def _array(names: Sequence[str]) -> str:
    """An array's text as a literal."""
    quoted = ",".join('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in names)
    return "'{" + quoted.replace("'", "''") + "}'"
