"""Import: a file of rows into a resource, in batches that are committed with the place in the file.

Killed at any moment and resumed, it imports every row once. It acts as the operator: rules do not apply.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple

import orjson

from ..db.bulk import Sink
from ..db.database import ConstraintViolationError
from ..db.imports import Mark, digest_of
from ..errors import FieldError, OperatorError, Problem
from .records import Format, Place, Record, read_csv, read_ndjson
from .rows import Ready, Rows

BATCH_ROWS = 1_000
PROGRESS_S = 0.5
_BEGINNING_BYTES = 65_536
#: What a batch of rows may take, as their JSON; a larger one is committed sooner.
BATCH_BYTES_MAX = 8 * 1_048_576


@dataclass(frozen=True, slots=True)
class Options:
    """How an import goes.

    Attributes:
        batch: rows of one transaction.
        resume: go on behind what an earlier run has committed.
        dry_run: commit nothing.
        errors_max: stop after so many refused rows; 0 for never.
    """

    format: Format = "ndjson"
    batch: int = BATCH_ROWS
    resume: bool = False
    dry_run: bool = False
    errors_max: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import did.

    Attributes:
        rows, failed: of all runs.
        new: rows of this run.
        stopped: it ended before the file did, because too many rows were refused.
    """

    rows: int
    failed: int
    new: int
    seconds: float
    resumed: bool
    stopped: bool


class _Item(NamedTuple):
    """A row, ready or refused, and what is behind it in the file."""

    line: int
    end: int
    line_end: int
    ready: Ready | None
    errors: Sequence[FieldError] = ()


_Batch = list[_Item]

#: Told how far it is.
Watch = Callable[[Mark], object]


class Import:
    """One file into one resource.

    Args:
        source: what the import is known by, when it is resumed.
        stream: the file; one that cannot seek cannot be resumed.
        report: where refused rows go, a line of JSON for each error; without one they are given to `say`.
    """

    def __init__(
        self,
        rows: Rows,
        sink: Sink,
        source: str,
        stream: BinaryIO,
        *,
        options: Options,
        report: BinaryIO | None = None,
        say: Callable[[bytes], object] = lambda lines: None,
        watch: Watch = lambda mark: None,
    ) -> None:
        self._rows, self._sink, self._stream, self._report = rows, sink, stream, report
        self._options, self._watch, self._told = options, watch, say
        self._mark, self._before, self._resumed = self._start(source)
        if report is not None:
            # Another file than that of the run before, perhaps: then it begins here.
            self._mark = replace(self._mark, reported=min(self._mark.reported, report.seek(0, io.SEEK_END)))
        self._watched = 0.0

    def _start(self, source: str) -> tuple[Mark, int, bool]:
        """The mark to go on from, and the position that it must still have.

        Raises:
            OperatorError: there is nothing to resume, or something that was not resumed, or another file.
        """
        if not self._stream.seekable():
            if self._options.resume:
                raise OperatorError("A stream cannot be resumed: name a file.")
            return Mark(source, "", 0), -1, False
        size = self._stream.seek(0, io.SEEK_END)
        self._stream.seek(0)
        digest = digest_of(self._stream.read(min(size, _BEGINNING_BYTES)))
        self._stream.seek(0)
        found = self._sink.find(source)
        if not self._options.resume:
            if found is not None and not found.done and not self._options.dry_run:
                hint = "add --resume to go on, or --restart to import it all again"
                raise OperatorError(f"An import of this file stopped at line {found.line + 1:,}: {hint}.")
            return Mark(source, digest, size), -1, False
        if found is None:
            return Mark(source, digest, size), -1, False
        if size < found.position or found.digest != self._digest_then(found):
            raise OperatorError("The file is not the one that the import began with: import it without --resume.")
        return replace(found, size=size, done=0), found.position, True

    def _digest_then(self, found: Mark) -> str:
        """Of as much of the file as was there when the import began: it may have grown."""
        digest = digest_of(self._stream.read(min(found.size, _BEGINNING_BYTES)))
        self._stream.seek(0)
        return digest

    def run(self) -> Outcome:
        """Import what is not yet imported.

        Raises:
            OperatorError: the header, the file or the database do not allow to go on.
        """
        began, first = time.monotonic(), self._mark.rows
        self._cut_report()
        if self._options.dry_run:
            self._sink.begin()
        stopped = False
        for batch in self._batches():
            self._write(batch)
            if self._options.errors_max and self._mark.failed >= self._options.errors_max:
                stopped = True
                break
        if self._options.dry_run:
            self._sink.roll_back()
        elif not stopped:
            self._end()
        self._watched = 0.0
        self._tell()
        mark = self._mark
        return Outcome(mark.rows, mark.failed, mark.rows - first, time.monotonic() - began, self._resumed, stopped)

    def _end(self) -> None:
        self._sink.begin()
        self._mark = replace(self._mark, done=1)
        self._sink.save(self._mark, self._before)
        self._sink.commit()

    def _records(self) -> Iterator[Record]:
        place = Place(self._mark.position, self._mark.line)
        if self._options.format == "csv":
            return read_csv(self._stream, self._rows.columns, place)
        if place.offset:
            self._stream.seek(place.offset)
        return read_ndjson(self._stream, place)

    def _batches(self) -> Iterator[_Batch]:
        batch: _Batch = []
        size, make, rows_max = 0, self._rows.ready, self._options.batch
        for line, end, line_end, body in self._records():
            try:
                if not isinstance(body, bytes):
                    raise body
                batch.append(_Item(line, end, line_end, make(body)))
                size += len(body)
            except Problem as problem:
                errors = problem.errors or (FieldError("row", problem.code.lower(), problem.detail),)
                batch.append(_Item(line, end, line_end, None, errors))
            if len(batch) >= rows_max or size >= BATCH_BYTES_MAX:
                yield batch
                batch, size = [], 0
                self._rows.next_batch()
        if batch:
            yield batch

    def _write(self, batch: _Batch) -> None:
        """One transaction; of a constraint that is checked at its end, one for each row."""
        if self._options.dry_run:
            self._insert(batch)
            return
        try:
            self._committed(batch)
        except ConstraintViolationError:
            for item in batch:
                try:
                    self._committed([item])
                except ConstraintViolationError as why:
                    assert item.ready is not None, "a row that is not inserted breaks no constraint"
                    errors = self._rows.errors(why, item.ready, self._sink.exists)
                    self._committed([item._replace(ready=None, errors=errors)])

    def _committed(self, batch: _Batch) -> None:
        before = self._mark
        self._sink.begin()
        try:
            self._insert(batch)
            self._sink.save(self._mark, self._before)
            self._sink.commit()
        except BaseException:
            self._mark = before
            self._sink.roll_back()
            raise
        self._before = self._mark.position

    def _insert(self, batch: _Batch) -> None:
        """Insert, report what was refused, and move the mark."""
        refused = [(item.line, item.errors) for item in batch if item.ready is None]
        for statement, group in groupby((i for i in batch if i.ready is not None), key=_statement_of):
            items = list(group)
            rows = [item.ready[1] for item in items if item.ready is not None]
            for place, why in self._sink.insert(statement, rows):
                ready = (statement, rows[place])
                refused.append((items[place].line, self._rows.errors(why, ready, self._sink.exists)))
        refused.sort(key=_line_of)
        mark = self._mark
        self._mark = replace(
            mark,
            position=batch[-1].end,
            line=batch[-1].line_end,
            rows=mark.rows + len(batch) - len(refused),
            failed=mark.failed + len(refused),
            reported=mark.reported + self._say(refused),
        )
        self._tell()

    def _say(self, refused: Sequence[tuple[int, Sequence[FieldError]]]) -> int:
        """Report refused rows, before their batch is committed; returns the number of bytes."""
        if not refused:
            return 0
        lines = [
            orjson.dumps({"line": line, "field": e.field, "code": e.code, "message": e.message})
            for line, errors in refused
            for e in errors
        ]
        text = b"\n".join(lines) + b"\n"
        if self._report is None:
            self._told(text)
            return 0
        self._cut_report()
        self._report.write(text)
        self._report.flush()
        return len(text)

    def _cut_report(self) -> None:
        """Drop what was said of rows whose batch was not committed: they come again."""
        if self._report is not None:
            self._report.seek(self._mark.reported)
            self._report.truncate()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._watched >= PROGRESS_S:
            self._watched = now
            self._watch(self._mark)


def _statement_of(item: _Item) -> Any:
    return item.ready and item.ready[0]


def _line_of(refused: tuple[int, object]) -> int:
    return refused[0]


def open_report(path: str, *, resume: bool) -> BinaryIO:
    """The file of an error report; a resumed import goes on in the one that is there.

    Raises:
        OperatorError: it cannot be written.
    """
    try:
        return open(path, "r+b" if resume and os.path.exists(path) else "wb")
    except OSError as error:
        raise OperatorError(f"Cannot write {path}: {error.strerror}.") from None
