"""A stream of bytes as rows, each a JSON object with the place that it comes from: NDJSON, or CSV (RFC 4180).

Nothing but the row at hand is in memory. A row that cannot be read is a row with an error, and the next one follows.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Literal, NamedTuple

import orjson

from ..errors import Problem, ValidationError, invalid, perhaps
from ..schema.model import Column, Kind

Format = Literal["ndjson", "csv"]
#: The longest line of NDJSON; a longer one is a row with an error. Every row is in memory, and a batch of them.
LINE_BYTES_MAX = 1_048_576
_INTEGER = re.compile(r"-?\d{1,18}\Z", re.ASCII)
_TRUTH = {"true": True, "false": False, "1": True, "0": False}


class Record(NamedTuple):
    """One row of a stream.

    Attributes:
        line: where it begins, counted from 1.
        end: the number of bytes up to its end.
        line_end: the line that it ends in.
        body: the JSON object, or why there is none.
    """

    line: int
    end: int
    line_end: int
    body: bytes | Problem


class Place(NamedTuple):
    """How far a stream has been read: bytes, and lines."""

    offset: int = 0
    line: int = 0


def read_ndjson(stream: BinaryIO, start: Place = Place()) -> Iterator[Record]:
    """The lines of a stream, which stands at `start`; lines of white space are no rows."""
    end, number = start
    while line := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        end += len(line)
        if len(line) > LINE_BYTES_MAX:
            while not line.endswith(b"\n") and (line := stream.readline(LINE_BYTES_MAX)):
                end += len(line)
            message = f"a line has at most {LINE_BYTES_MAX} bytes."
            yield Record(number, end, number, invalid("row", "too_long", message))
            continue
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line.isspace():
            yield Record(number, end, number, line)


class _Lines:
    """The lines of a CSV stream as text, and how far they go."""

    def __init__(self, stream: BinaryIO, start: Place) -> None:
        self._stream = stream
        self.end, self.number = start

    def __iter__(self) -> Iterator[str]:
        # No field is longer than csv's limit, and so no line that makes sense.
        while line := self._stream.readline(LINE_BYTES_MAX):
            self.end += len(line)
            self.number += 1
            yield line.decode("utf-8", "surrogateescape")


def read_csv(stream: BinaryIO, columns: Mapping[str, Column], start: Place = Place()) -> Iterator[Record]:
    """The rows below the header; the stream stands at its beginning and can be told to go to `start`.

    An empty cell is null, or the default of a field that cannot be null; in a text that cannot be null it is the
    empty text.

    Raises:
        ValidationError: the header names no fields, others, or one twice.
    """
    lines = _Lines(stream, Place())
    header: list[str] = next(csv.reader(iter(lines), strict=True), list[str]())
    cells = _cells([name.removeprefix("\ufeff") for name in header], columns)
    if start.offset > lines.end:
        stream.seek(start.offset)
        lines = _Lines(stream, start)
    rows = csv.reader(iter(lines), strict=True)
    while True:
        first = lines.number + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(first, lines.end, lines.number, invalid("row", "malformed", f"is not CSV: {error}."))
            continue
        if row:
            yield Record(first, lines.end, lines.number, _object(row, cells))


Cell = tuple[str, Callable[[str], Any], Column]


def _cells(header: list[str], columns: Mapping[str, Column]) -> list[Cell]:
    if not header:
        raise invalid("header", "required", "the first line names the fields.")
    for name in header:
        if name not in columns:
            hint = perhaps(name, columns, noun="field")
            raise invalid(name[:80] or "header", "unknown_field", "is not a field of this resource.", hint=hint)
        if header.count(name) > 1:
            raise invalid(name, "duplicate", "is given twice.")
    return [(name, _READERS.get(columns[name].kind, str), columns[name]) for name in header]


def _object(row: list[str], cells: list[Cell]) -> bytes | ValidationError:
    if len(row) != len(cells):
        return invalid("row", "malformed", f"has {len(row)} cells and the header {len(cells)}.")
    found: dict[str, Any] = {}
    for text, (name, read, column) in zip(row, cells, strict=True):
        if text:
            found[name] = read(text)
        elif column.nullable:
            found[name] = None
        elif column.kind is Kind.TEXT and not column.has_default:
            found[name] = ""
    try:
        return orjson.dumps(found)
    except orjson.JSONEncodeError:
        return invalid("row", "malformed", "is not UTF-8.")


def _integer(text: str) -> Any:
    return int(text) if _INTEGER.match(text) else _json(text)


def _boolean(text: str) -> Any:
    return _TRUTH.get(text.lower(), text)


def _json(text: str) -> Any:
    """What the text says; what says nothing is for the contract to refuse, as the text that it is."""
    try:
        return orjson.Fragment(text) if orjson.loads(text) is not None else None
    except orjson.JSONDecodeError:
        return text


def _any(text: str) -> Any:
    return int(text) if _INTEGER.match(text) else text


#: From a cell to its JSON value, where that is no text.
_READERS: Mapping[Kind, Callable[[str], Any]] = {
    Kind.INTEGER: _integer,
    Kind.FLOAT: _json,
    Kind.BOOLEAN: _boolean,
    Kind.JSON: _json,
    Kind.ARRAY: _json,
    Kind.ANY: _any,
}
