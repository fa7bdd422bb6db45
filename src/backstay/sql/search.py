"""Full text search on each database: the condition, the relevance, and the text of a query that cannot fail.

The words come from `query.search`: letters, digits and marks, so that quotes keep them apart from all operators.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import sqlalchemy as sa

from ..query.search import Phrase, parse_search
from ..schema.model import Search
from ..schema.search import search_name
from ..schema.search_ddl import document, query_of
from .dialect import Expression, fixed


class PostgresSearch:
    """`document @@ query`, by the GIN index of the same document; see `dialect.TextSearch`."""

    def matches(self, search: Search, rows: sa.FromClause, value: sa.BindParameter[Any]) -> Expression:
        """The index's own expression, which is how PostgreSQL finds the index."""
        return self._document(search, rows).op("@@", is_comparison=True)(query_of(value))

    def relevance(
        self, search: Search, rows: sa.FromClause, origin: Any, value: sa.BindParameter[Any]
    ) -> tuple[Expression, Any]:
        """`ts_rank`: how often, and how near."""
        return sa.func.ts_rank(self._document(search, rows), query_of(value)), origin

    def _document(self, search: Search, rows: sa.FromClause) -> Expression:
        by_name = {cast(Any, column).name: column for column in rows.c}
        return document([by_name[name] for name in search.columns])

    def reader(self, raw: Any) -> bytes:
        """`'space' & ('big' <-> 'bang') & !('pong')`."""
        found = parse_search(raw)
        text = " & ".join(_postgres_phrase(phrase) for phrase in found.wanted)
        if found.unwanted:
            text += f" & !({' | '.join(_postgres_phrase(phrase) for phrase in found.unwanted)})"
        return text.encode()


def _postgres_phrase(phrase: Phrase) -> str:
    words = [f"'{word}'" for word in phrase.words]
    return f"({' <-> '.join(words)}{':*' if phrase.prefix else ''})"


class SqliteSearch:
    """The rows that the table's FTS5 index names; see `dialect.TextSearch`."""

    def matches(self, search: Search, rows: sa.FromClause, value: sa.BindParameter[Any]) -> Expression:
        """The index is asked once for the whole statement."""
        index = _index(search)
        found = sa.select(index.c.rowid).where(_match(index, search, value))
        return _rowid(search, rows).in_(found)

    def relevance(
        self, search: Search, rows: sa.FromClause, origin: Any, value: sa.BindParameter[Any]
    ) -> tuple[Expression, Any]:
        """BM25 by a join: asked row by row, the index would count all rows each time."""
        index = _index(search)
        relevance = cast(Expression, -index.c.rank)
        query = sa.select(index.c.rowid.label("number"), relevance.label("relevance"))
        found = query.where(_match(index, search, value)).subquery(f"{rows.name}_search")  # type: ignore[attr-defined]
        return found.c.relevance, origin.join(found, found.c.number == _rowid(search, rows))

    def reader(self, raw: Any) -> str:
        """`("space" AND "big bang") NOT ("pong")`."""
        found = parse_search(raw)
        text = f"({' AND '.join(_sqlite_phrases(found.wanted))})"
        return f"{text} NOT ({' OR '.join(_sqlite_phrases(found.unwanted))})" if found.unwanted else text


def _sqlite_phrases(phrases: Iterable[Phrase]) -> list[str]:
    return [f'"{" ".join(phrase.words)}"{" *" if phrase.prefix else ""}' for phrase in phrases]


def _index(search: Search) -> sa.TableClause:
    name = search_name(search.table)
    columns: list[sa.ColumnClause[Any]] = [sa.column("rowid"), sa.column("rank", sa.Double()), sa.column(name)]
    return sa.table(name, *columns)


def _match(index: sa.TableClause, search: Search, value: sa.BindParameter[Any]) -> Expression:
    """A column of the table's own name stands for all of it."""
    return index.c[index.name].op("MATCH", is_comparison=True)(value)


def _rowid(search: Search, rows: sa.FromClause) -> Expression:
    known = next((column for column in rows.c if cast(Any, column).name == search.rowid), None)
    if known is not None:
        return cast(Expression, known)
    return fixed(f"{cast(Any, rows).name}.{search.rowid}")
