"""The index of a table's search on each database: GIN over an expression on PostgreSQL, FTS5 on SQLite.

FTS5 keeps the words only (`content=` names the table that has the text); triggers keep it current, whoever writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, cast

import sqlalchemy as sa

from .model import Search

#: Letters, digits and the marks on them make words; accents count, case does not.
TOKENIZER = "unicode61 remove_diacritics 0 categories 'L* M* N*'"
#: Characters of one column that are searched on PostgreSQL, whose index takes a megabyte of words a row.
SEARCHED_CHARS_MAX = 200_000
#: What stands between words, said here so that PostgreSQL's parser sees no URLs, e-mail addresses and signed numbers.
_BETWEEN = (
    r"'[\u0001-/:-@[-`{-\u00A9\u00AB-\u00B1\u00B4\u00B6-\u00B8\u00BB\u00BF\u00D7\u00F7"
    r"\u2000-\u206F\u20A0-\u20CF\u2190-\u23FF\u3000-\u3004\u3008-\u3020\uFF01-\uFF0F\uFF1A-\uFF20]+'"
)
_CONFIGURATION = "'simple'::regconfig"
#: No word is like it: it keeps a phrase from going on in the next column.
_GAP = "'''|'':1'::tsvector"
_GAP_WORD = "'|'"
_EVENTS = ("insert", "update", "delete")
#: What SQLite calls the number of a row, unless a column has that name.
ROWIDS = ("rowid", "_rowid_", "oid")


def _literal(text: str) -> sa.ColumnElement[Any]:
    return cast("sa.ColumnElement[Any]", sa.literal_column(text))


def document(columns: Sequence[sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    """The searched words of a row on PostgreSQL: the index's expression, and so the query's, to the letter."""
    vectors = [_words(column) for column in columns]
    if len(vectors) == 1:
        return vectors[0]
    joined = reduce(lambda left, right: left.op("||")(_literal(_GAP)).op("||")(right), vectors)
    return sa.func.ts_delete(joined, _literal(_GAP_WORD))


def _words(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    text = sa.func.left(sa.func.coalesce(column, _literal("''")), _literal(str(SEARCHED_CHARS_MAX)))
    words = sa.func.regexp_replace(text, _literal(_BETWEEN), _literal("' '"), _literal("'g'"))
    return sa.func.to_tsvector(_literal(_CONFIGURATION), words)


def query_of(value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """What PostgreSQL looks for, of the text of a query whose words are quoted."""
    return sa.func.to_tsquery(_literal(_CONFIGURATION), sa.cast(value, sa.Text()))


def create_search(connection: sa.Connection, search: Search, name: str, *, schema: str | None = None) -> None:
    """Make the index, of the rows that are there too."""
    if connection.dialect.name == "postgresql":
        for statement in _postgresql(connection, search, name, schema):
            connection.exec_driver_sql(statement)
    elif connection.dialect.name == "sqlite":
        for statement in sqlite_statements(connection, search, name):
            connection.exec_driver_sql(statement)
        rebuild(connection, name)


def drop_search(connection: sa.Connection, name: str, *, schema: str | None = None) -> None:
    """Drop the index, if it is there."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    if connection.dialect.name == "postgresql":
        place = f"{quote(schema)}." if schema else ""
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {place}{quote(index_name(name))}")
    elif connection.dialect.name == "sqlite":
        for kind in _EVENTS:
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {quote(f'{name}_{kind}')}")
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {quote(name)}")


def rebuild(connection: sa.Connection, name: str) -> None:
    """Read every row again; only SQLite ever needs to be told."""
    target = sa.table(name, sa.column(name, sa.Text()))
    connection.execute(sa.insert(target).values({name: "rebuild"}))


def index_name(name: str) -> str:
    """The index on PostgreSQL."""
    return f"ix_{name}"


def comment_of(columns: Sequence[str]) -> str:
    """What the index on PostgreSQL says of itself, because its expression is not what was written."""
    return f"backstay search of {', '.join(columns)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _postgresql(connection: sa.Connection, search: Search, name: str, schema: str | None) -> list[str]:
    preparer = connection.dialect.identifier_preparer
    quote = preparer.quote_identifier
    place = f"{quote(schema)}." if schema else ""
    shown: Any = document([sa.column(column) for column in search.columns]).compile(dialect=connection.dialect)
    index = quote(index_name(name))
    return [
        f"CREATE INDEX {index} ON {place}{quote(search.table)} USING gin (({shown}))",
        f"COMMENT ON INDEX {place}{index} IS {_quoted(comment_of(search.columns))}",
    ]


def sqlite_statements(connection: sa.Connection, search: Search, name: str) -> list[str]:
    """The virtual table and its triggers, as SQLite will show them."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    table, words, rowid = quote(search.table), quote(name), quote(search.rowid)
    columns = [quote(column) for column in search.columns]
    listed = ", ".join(columns)
    new = ", ".join(f"new.{column}" for column in (rowid, *columns))
    old = ", ".join(f"old.{column}" for column in (rowid, *columns))
    add = f"{words}(rowid, {listed}) VALUES ({new});"
    remove = f"{words}({words}, rowid, {listed}) VALUES ('delete', {old});"
    watched = [*columns, *([] if search.rowid.lower() in ROWIDS else [rowid])]
    triggers = {
        "insert": f"AFTER INSERT ON {table} BEGIN INSERT INTO {add}",
        "update": f"AFTER UPDATE OF {', '.join(watched)} ON {table} BEGIN INSERT INTO {remove} INSERT INTO {add}",
        "delete": f"AFTER DELETE ON {table} BEGIN INSERT INTO {remove}",
    }
    options = [
        f"content={_quoted(search.table)}",
        f"content_rowid={_quoted(search.rowid)}",
        f"tokenize={_quoted(TOKENIZER)}",
    ]
    return [
        f"CREATE VIRTUAL TABLE {words} USING fts5({', '.join([*columns, *options])})",
        *(f"CREATE TRIGGER {quote(f'{name}_{kind}')} {rest} END" for kind, rest in triggers.items()),
    ]
