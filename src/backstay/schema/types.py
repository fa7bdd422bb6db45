"""Column types that SQLAlchemy has no word for: a list on every database, and types known by their name alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from .floats import shortest
from .model import Kind


def list_text(items: Sequence[Any]) -> str:
    """A list as JSON text, with its doubles as PostgreSQL writes them.

    Example:
        >>> list_text([1.0, 2.5, None])
        '[1,2.5,null]'
    """
    return f"[{','.join(shortest(i + 0.0) if isinstance(i, float) else orjson.dumps(i).decode() for i in items)}]"


class Array(TypeDecorator[list[Any]]):
    """A list of values of one type. An array on PostgreSQL; on other databases JSON text.

    Args:
        item: the type of its values; one that JSON has too.

    Example:
        >>> Array(sa.Text())
        Array(Text())
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: TypeEngine[Any] | type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.item = item() if isinstance(item, type) else item

    def __repr__(self) -> str:
        """As it is written in a migration."""
        return f"Array({self.item!r})"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """PostgreSQL has arrays."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.ARRAY(self.item))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: list[Any] | None, dialect: Dialect) -> Any:
        """JSON in the very form that the API writes, so that equal lists are equal text."""
        if value is None:
            return None
        # No database has a negative zero of ours: JSON's readers do not tell it from zero.
        plain = [item + 0.0 if isinstance(item, float) else item for item in value]
        return plain if dialect.name == "postgresql" else list_text(plain)

    def process_result_value(self, value: Any, dialect: Dialect) -> list[Any] | None:
        """The list again."""
        return orjson.loads(value) if isinstance(value, str) else value


class Normalized(TypeDecorator[str]):
    """Text that is put into its normal form wherever it comes in: bodies, filters, keys and ORM sessions alike.

    A value that has no normal form is a `ValueError`, which a caller of the API sees as the field's.
    """

    impl = sa.Text
    cache_ok = True

    def normal(self, value: str) -> str:
        """The normal form, which is its own normal form."""
        raise NotImplementedError

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Normalise."""
        return None if value is None else self.normal(value)

    def process_literal_param(self, value: str | None, dialect: Dialect) -> str:
        """Normalise, where a value is written into the text."""
        return "NULL" if value is None else self.normal(value)


class NamedType(UserDefinedType[str]):
    """A type of an existing database, by its name there.

    Args:
        name: as the database writes it, quoted where it must be.
        kind: what its values are to the API.
    """

    cache_ok = True

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind

    def get_col_spec(self, **kw: Any) -> str:
        """Its name."""
        return self.name


class AnyNumeric(sa.Numeric[Any]):
    """A decimal of no declared size: each value has as many digits as it was written with."""
