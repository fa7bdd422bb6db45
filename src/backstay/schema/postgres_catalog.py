"""What PostgreSQL's catalog says, as rows: one query each for tables, columns, types, keys, foreign keys and checks.

The queries are the same for every database; what differs are their parameters. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString

import sqlalchemy as sa

Row = Mapping[str, Any]

#: Tables, views and foreign tables of some schemas, or of all but the system's, without partitions and without
#: what an extension brought. `visible` says that the bare name leads there by the search path.
_TABLES = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       obj_description(c.oid, 'pg_class') AS description,
       pg_table_is_visible(c.oid) AS visible,
       has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT') AS readable,
       has_any_column_privilege(c.oid, 'INSERT') OR has_any_column_privilege(c.oid, 'UPDATE')
           OR has_table_privilege(c.oid, 'DELETE') AS writable,
       EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid
               WHERE i.inhparent = c.oid AND NOT k.relispartition) AS inherited,
       EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type <> '1') AS rewritten
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
  AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY (%(schemas)s::text[]))
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname, c.relname
"""

_COLUMNS = """
SELECT a.attrelid AS "table", a.attnum AS number, a.attname AS name, a.atttypid AS type, a.atttypmod AS modifier,
       a.attnotnull AS required, a.attidentity::text AS identity, a.attgenerated::text AS generated,
       pg_get_expr(d.adbin, d.adrelid) AS "default",
       col_description(a.attrelid, a.attnum) AS description,
       has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS readable,
       has_column_privilege(a.attrelid, a.attnum, 'INSERT')
           OR has_column_privilege(a.attrelid, a.attnum, 'UPDATE') AS writable
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY (%(tables)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

#: Some types, with those that they are made of. A type that a cast without a function makes another (cidr of
#: inet) compares as that does; regclass and the like are numbers to the operators and names to everybody else.
_TYPES = """
WITH RECURSIVE used (oid) AS (
    SELECT unnest(%(types)s::oid[])
    UNION
    SELECT part.oid FROM used JOIN pg_catalog.pg_type t USING (oid),
        LATERAL (VALUES (t.typbasetype), (t.typelem)) part (oid) WHERE part.oid <> 0
)
SELECT t.oid, n.nspname AS schema, n.nspname = 'pg_catalog' AS builtin, t.typname AS name, t.typtype::text AS kind,
       t.typcategory = 'A' AND t.typlen = -1 AND t.typelem <> 0 AS is_array, t.typelem AS item,
       t.typbasetype AS base, t.typtypmod AS modifier, t.typnotnull AS required,
       CASE WHEN n.nspname = 'pg_catalog' THEN format_type(t.oid, NULL)
            ELSE quote_ident(n.nspname) || '.' || quote_ident(t.typname) END AS written,
       EXISTS (SELECT 1 FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
               WHERE o.opcdefault AND m.amname = 'btree' AND (o.opcintype = t.oid OR o.opcintype IN (
                   SELECT c.casttarget FROM pg_catalog.pg_cast c
                   WHERE c.castsource = t.oid AND c.castmethod = 'b' AND c.castcontext = 'i'
                     AND c.casttarget <> 'oid'::regtype))) AS ordered,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) AS labels,
       (SELECT array_agg(pg_get_constraintdef(k.oid, true) ORDER BY k.conname)
        FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c') AS checks
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid IN (SELECT oid FROM used)
"""

#: Primary keys, unique constraints and unique indexes of whole columns over all rows.
_KEYS = """
SELECT i.indrelid AS "table", i.indisprimary AS is_primary,
       (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns
FROM pg_catalog.pg_index i
WHERE i.indrelid = ANY (%(tables)s::oid[]) AND i.indisunique AND i.indisvalid AND NOT i.indisexclusion
  AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid
"""

#: A partition's copies of its parent's keys have a parent themselves; a key over periods is no equality.
_FOREIGN_KEYS = """
SELECT k.conrelid AS "table", k.conkey AS columns, k.confrelid AS target, k.confkey AS target_columns,
       k.confrelid::regclass::text AS target_name
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = ANY (%(tables)s::oid[]) AND k.contype = 'f' AND k.conparentid = 0
  AND NOT coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false)
ORDER BY k.conrelid, k.conkey, k.oid
"""

_CHECKS = """
SELECT k.conrelid AS "table", pg_get_constraintdef(k.oid, true) AS definition
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = ANY (%(tables)s::oid[]) AND k.contype = 'c'
ORDER BY k.conrelid, k.conname
"""


def schemas_missing(connection: sa.Connection, schemas: Sequence[str]) -> list[str]:
    """Which of some schemas do not exist."""
    query = "SELECT n FROM unnest(%(schemas)s::text[]) n WHERE n NOT IN (SELECT nspname FROM pg_catalog.pg_namespace)"
    return [str(row["n"]) for row in _rows(connection, query, schemas=list(schemas))]


def tables(connection: sa.Connection, schemas: Sequence[str]) -> list[Row]:
    """Tables and views of some schemas; of all but the system's when none are named."""
    return _rows(connection, _TABLES, schemas=list(schemas) or None)


def columns(connection: sa.Connection, of: Iterable[int]) -> list[Row]:
    """The columns of some tables, in order."""
    return _rows(connection, _COLUMNS, tables=list(of))


def types(connection: sa.Connection, of: Iterable[int]) -> dict[int, Row]:
    """Some types and what they are made of, by number."""
    return {row["oid"]: row for row in _rows(connection, _TYPES, types=list(of))}


def keys(connection: sa.Connection, of: Iterable[int]) -> list[Row]:
    """The primary keys and other unique sets of some tables, primary keys first."""
    return _rows(connection, _KEYS, tables=list(of))


def foreign_keys(connection: sa.Connection, of: Iterable[int]) -> list[Row]:
    """The foreign keys of some tables."""
    return _rows(connection, _FOREIGN_KEYS, tables=list(of))


def checks(connection: sa.Connection, of: Iterable[int]) -> list[Row]:
    """The CHECK constraints of some tables."""
    return _rows(connection, _CHECKS, tables=list(of))


def _rows(connection: sa.Connection, query: LiteralString, **parameters: Any) -> list[Row]:
    return [dict(row) for row in connection.exec_driver_sql(query, parameters).mappings()]
