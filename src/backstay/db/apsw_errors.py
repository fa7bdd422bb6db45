"""The DBAPI 2 exception tree of `apsw_dbapi`, and the one translation from what apsw raises into it.

SQLite's message is kept word for word, with the extended result code beside it.
"""

import apsw


class Warning(Exception):  # noqa: N818 - the name is PEP 249's
    """An important warning; SQLite has none, the name is required."""


class Error(Exception):
    """Base of every error; carries SQLite's extended result code where SQLite itself refused."""

    sqlite_errorcode: int | None = None
    sqlite_errorname: str | None = None


class InterfaceError(Error):
    """The module was used wrongly, not the database."""


class DatabaseError(Error):
    """The database refused or failed."""


class DataError(DatabaseError):
    """A value cannot be stored as it is: too large, not encodable, not exact."""


class OperationalError(DatabaseError):
    """Not in the programmer's hand: busy, locked, disk, missing table, interrupted."""


class IntegrityError(DatabaseError):
    """A constraint holds and the statement would break it."""


class InternalError(DatabaseError):
    """SQLite met a state that should not exist."""


class ProgrammingError(DatabaseError):
    """A wrong call: closed connection, wrong number of values, several statements at once."""


class NotSupportedError(DatabaseError):
    """SQLite or this build of it cannot do this."""


# As the standard library's sqlite3 maps result codes: code moved from it sees the same classes.
_CLASSES: dict[type[BaseException], type[Error]] = {
    apsw.ConstraintError: IntegrityError,
    apsw.MismatchError: IntegrityError,
    apsw.TooBigError: DataError,
    apsw.CorruptError: DatabaseError,
    apsw.NotADBError: DatabaseError,
    apsw.InternalError: InternalError,
    apsw.NotFoundError: InternalError,
    apsw.MisuseError: ProgrammingError,
    apsw.RangeError: ProgrammingError,
    apsw.BindingsError: ProgrammingError,
    apsw.ConnectionClosedError: ProgrammingError,
    apsw.ConnectionNotClosedError: ProgrammingError,
    apsw.CursorClosedError: ProgrammingError,
    apsw.ExecutionCompleteError: ProgrammingError,
    apsw.IncompleteExecutionError: ProgrammingError,
    apsw.ThreadingViolationError: ProgrammingError,
    apsw.ForkingViolationError: ProgrammingError,
    apsw.InvalidContextError: ProgrammingError,
    apsw.ExtensionLoadingError: NotSupportedError,
    apsw.NoLFSError: NotSupportedError,
    apsw.NoFTS5Error: NotSupportedError,
    # What apsw raises for a value or a text that never reached SQLite.
    OverflowError: DataError,
    UnicodeError: DataError,
    KeyError: ProgrammingError,
    TypeError: ProgrammingError,
    ValueError: ProgrammingError,
}
NATIVE_ERRORS = (apsw.Error, OverflowError, UnicodeError, KeyError, TypeError, ValueError)
"""What a call into apsw may raise; everything else comes from user functions and passes unchanged."""


def translate(error: BaseException) -> Error:
    """The DBAPI error for `error`; raise it `from` the original."""
    kind = next((_CLASSES[base] for base in type(error).__mro__ if base in _CLASSES), OperationalError)
    message = f"no value for the parameter {error}" if isinstance(error, KeyError) else str(error)
    translated = kind(message)
    if isinstance(error, apsw.Error):
        code = getattr(error, "extendedresult", None)
        if isinstance(code, int):
            name = apsw.mapping_extended_result_codes.get(code) or apsw.mapping_result_codes.get(code)
            translated.sqlite_errorcode = code
            translated.sqlite_errorname = str(name) if name is not None else None
    return translated
