"""Values: what a caller writes is what it reads back and what a filter finds, for every kind."""

import datetime as dt
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.asgi import Client
from support.databases import DATABASES, empty_database
from support.kinds import KINDS, PLAIN, Base, app_of, values_of
from support.render import quoted

COLUMNS = [*KINDS, *(f"{name}_or" for name in KINDS)]


@pytest.fixture(scope="module", params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An app with the table of every kind."""
    with Client(app_of(empty_database(request.param, tmp_path_factory.mktemp("values"), Base.metadata))) as opened:
        yield opened


def sent(value: Any) -> Any:
    """A Python value as a caller writes it in JSON."""
    match value:
        case Decimal():
            return str(value)
        case dt.datetime():
            return value.isoformat() + "Z"
        case dt.date() | dt.time():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
        case _:
            return value


def emitted(column: str, value: Any) -> Any:
    """The JSON form that DESIGN promises: exact decimals with their scale, UTC instants, lower-case UUIDs."""
    kind = column.removesuffix("_or")
    if value is None:
        return None
    if kind == "price":
        return str(value.quantize(Decimal("0.0001")) + 0)
    if kind in ("moment", "local"):
        return value.isoformat(timespec="microseconds") + "+00:00"
    if kind == "hour":
        return value.isoformat("microseconds")
    return sent(value)


def filter_text(value: Any) -> str:
    """A JSON value as the text of a filter."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


BODY = {name: sent(value) for name, value in PLAIN.items()}


@settings(max_examples=200, deadline=None)
@given(data=st.data(), column=st.sampled_from(COLUMNS))
def test_a_value_comes_back_and_is_found(client: Client, data: st.DataObject, column: str) -> None:
    """POST, GET and a filter by equality agree on the value, its JSON form and its type."""
    value = data.draw(values_of(column))
    made = client.post("/things", BODY | {column: sent(value)})
    assert made.status == 201, made.body
    shown = made.data[column]
    expected = emitted(column, value)
    assert shown == expected
    # A whole double is a JSON number without a point.
    assert isinstance(shown, float | int if isinstance(expected, float) else type(expected))
    key = made.data["id"]
    assert client.get(f"/things/{key}").data == made.data
    if shown is None:
        assert key in found(client, f"{column}[is]", "null", key)
    else:
        assert key in found(client, column, filter_text(shown), key)
        assert key in found(client, column + "[in]", quoted(filter_text(shown)), key)
        assert key not in found(client, column + "[ne]", filter_text(shown), key)
        if column not in ("flag", "code", "color", "flag_or", "code_or", "color_or"):
            assert key in found(client, column + "[gte]", filter_text(shown), key)
            assert key not in found(client, column + "[gt]", filter_text(shown), key)
            assert key in found(client, column + "[lte]", filter_text(shown), key)


def found(client: Client, name: str, value: str, key: int) -> list[int]:
    """The ids that a filter finds among the one row."""
    answer = client.get("/things", [(name, value), ("id", str(key)), ("fields", "id")])
    assert answer.status == 200, answer.body
    return [row["id"] for row in answer.data]


@settings(max_examples=80, deadline=None)
@given(data=st.data(), column=st.sampled_from(COLUMNS))
def test_a_row_can_be_sent_as_it_was_read(client: Client, data: st.DataObject, column: str) -> None:
    """PUT of a row's own JSON and PATCH of one of its values change nothing but the version and its time."""
    made = client.post("/things", BODY | {column: sent(data.draw(values_of(column)))})
    assert made.status == 201, made.body
    path = f"/things/{made.data['id']}"
    own = {name: value for name, value in made.data.items() if name not in ("updated_at", "version")}
    for method, body in (("PUT", own), ("PATCH", {column: own[column]})):
        again = client.request(method, path, body=body)
        assert again.status == 200, again.body
        kept = {name: value for name, value in again.data.items() if name not in ("updated_at", "version")}
        assert kept == own


@settings(max_examples=80, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8))
def test_patterns_match_text_literally_when_escaped(client: Client, text: str) -> None:
    """`contains`, and `like` and `ilike` of the escaped text, find the row that holds exactly that text."""
    made = client.post("/things", BODY | {"text": f"<{text}>"})
    key = made.data["id"]
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    assert key in found(client, "text[contains]", text, key)
    assert key in found(client, "text[like]", f"<{escaped}>", key)
    assert key in found(client, "text[like]", f"%{escaped}%", key)
    assert key in found(client, "text[ilike]", f"<{escaped}>", key)
    assert key not in found(client, "text[like]", f"<{escaped}>x", key)
