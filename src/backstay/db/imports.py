"""Where an import stands: a row that is committed with each of its batches, so that a killed one can go on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

_DIGEST_BYTES = 65_536

#: Beside the other tables of ours; it is made by the first import.
IMPORTS = sa.Table(
    "backstay_imports",
    sa.MetaData(),
    sa.Column("source", sa.Text(), primary_key=True),
    sa.Column("digest", sa.Text(), nullable=False),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("position", sa.BigInteger(), nullable=False),
    sa.Column("line", sa.BigInteger(), nullable=False),
    sa.Column("rows", sa.BigInteger(), nullable=False),
    sa.Column("failed", sa.BigInteger(), nullable=False),
    sa.Column("reported", sa.BigInteger(), nullable=False),
    sa.Column("done", sa.Integer(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an import is.

    Attributes:
        source: the resource and the file.
        digest: of the beginning of the file, by which it is known again.
        size: of the file, in bytes.
        position: bytes that are done.
        line: lines that are done.
        rows: that are imported.
        failed: rows that are not.
        reported: bytes of the error report.
        done: 1 at the end.
    """

    source: str
    digest: str
    size: int
    position: int = 0
    line: int = 0
    rows: int = 0
    failed: int = 0
    reported: int = 0
    done: int = 0

    def values(self) -> tuple[Any, ...]:
        """In the order of the table's columns."""
        return tuple(getattr(self, name) for name in NAMES)


NAMES = tuple(field.name for field in fields(Mark))
COLUMNS = ", ".join(f'"{name}"' for name in NAMES)
_SET = ", ".join(f'"{name}" = excluded."{name}"' for name in NAMES[1:])


def digest_of(beginning: bytes) -> str:
    """What a file is known by: a hash of its first bytes."""
    return hashlib.sha256(beginning[:_DIGEST_BYTES]).hexdigest()


def find_text(parameter: str) -> str:
    """The query for the mark of a source."""
    return f"SELECT {COLUMNS} FROM {IMPORTS.name} WHERE source = {parameter}"  # noqa: S608 - names of ours


def save_text(parameters: list[str], before: str) -> str:
    """The statement that writes a mark, unless another process has meanwhile.

    Args:
        parameters: one for each column.
        before: that of the position that the mark had, or -1 for any.
    """
    values = ", ".join(parameters)
    unless = f"{IMPORTS.name}.position = {before} OR {before} = -1"
    return (
        f"INSERT INTO {IMPORTS.name} ({COLUMNS}) VALUES ({values}) "  # noqa: S608 - names of ours
        f"ON CONFLICT (source) DO UPDATE SET {_SET} WHERE {unless}"
    )
