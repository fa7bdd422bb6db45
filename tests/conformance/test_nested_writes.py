"""Nested writes: a row and the rows that belong to it are one body and one transaction."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, Config, ModelBase, has_role, public, signed_in
from support.asgi import SECRET, Answer, Client, bearer
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Order(Base):
    """What is bought."""

    __tablename__ = "orders"

    code: Mapped[str] = mapped_column(unique=True)
    note: Mapped[str | None]
    lines: Mapped[list["Line"]] = relationship(back_populates="order", passive_deletes=True)
    stamps: Mapped[list["Stamp"]] = relationship(passive_deletes=True)
    gifts: Mapped[list["Gift"]] = relationship(passive_deletes=True)
    seals: Mapped[list["Seal"]] = relationship(passive_deletes=True)


class Line(Base):
    """A part of an order."""

    __tablename__ = "lines"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    sku: Mapped[str] = mapped_column(unique=True)
    amount: Mapped[int]
    order: Mapped[Order] = relationship(back_populates="lines")


class Stamp(Base):
    """What only an admin puts on an order."""

    __tablename__ = "stamps"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    text: Mapped[str]


class Gift(Base):
    """Is given once, and stays as it is."""

    __tablename__ = "gifts"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    text: Mapped[str]


class Seal(Base):
    """Nobody writes it here."""

    __tablename__ = "seals"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))


class Shop:
    """An app with orders."""

    def __init__(self, url: str) -> None:
        config = Config(database_url=url, secret=SECRET, log_level="error", rate_limit="off")
        self.app = app = Backstay("shop", config=config)
        app.resource(Order, read=public, write=signed_in)
        app.resource(Line, read=public, create=signed_in, update=signed_in, delete=Line.amount < 100)
        app.resource(Stamp, read=public, write=has_role("admin"))
        app.resource(Gift, read=public, create=signed_in)
        app.resource(Seal, read=public)
        self.client = Client(app)

    def send(self, method: str, path: str, body: Any = None, *headers: tuple[bytes, bytes]) -> Answer:
        """A request."""
        given = [(b"content-type", b"application/json"), *headers]
        path, _, query = path.partition("?")
        return self.client.request(method, path, query, body=body, credential=bearer(7), headers=given)

    def lines(self) -> list[tuple[int, int, str, int]]:
        """(id, order, sku, amount) of each."""
        rows = self.client.get("/lines", "sort=id").data
        return [(row["id"], row["order_id"], row["sku"], row["amount"]) for row in rows]

    def logged(self) -> list[str]:
        """What the change log has."""
        found = self.client.loop.run_until_complete(self.app.changes.after(0, 1_000))
        return [f"{change.operation} {change.table}" for change in found]


@pytest.fixture(params=DATABASES)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A shop with one order of two lines, and another one of one."""
    made = Shop(empty_database(request.param, tmp_path, Base.metadata))
    with made.client:
        first = {"code": "a", "lines": [{"sku": "x", "amount": 1}, {"sku": "y", "amount": 2}]}
        assert made.send("POST", "/orders", first).status == 201
        assert made.send("POST", "/orders", {"code": "b", "lines": [{"sku": "z", "amount": 200}]}).status == 201
        yield made


LINES = [(1, 1, "x", 1), (2, 1, "y", 2), (3, 2, "z", 200)]
REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/orders", {"code": "c", "lines": 3}, 400, "lines"),
    ("POST", "/orders", {"code": "c", "lines": [3]}, 400, "lines[0]"),
    ("POST", "/orders", {"code": "c", "lines": [{"sku": "q", "amount": 1}] * 101}, 400, "lines"),
    ("POST", "/orders", {"code": "c", "lines": [{"sku": "q", "amount": 1}, {"sku": "r"}]}, 400, "lines[1].amount"),
    ("POST", "/orders", {"code": "c", "lines": [{"sku": "q", "amount": 1, "order_id": 2}]}, 400, "lines[0].order_id"),
    ("POST", "/orders", {"code": "c", "lines": [{"sku": "x", "amount": 1}]}, 409, "lines[0].sku"),
    ("POST", "/orders", {"code": "a", "lines": [{"sku": "q", "amount": 1}]}, 409, "code"),
    ("POST", "/orders", {"code": "c", "stamps": [{"text": "paid"}]}, 403, ""),
    ("PATCH", "/orders/1", {"lines": [{"id": 3, "amount": 9}]}, 400, "lines[0].id"),
    ("PATCH", "/orders/1", {"lines": [{"id": 99, "amount": 9}]}, 400, "lines[0].id"),
    ("PATCH", "/orders/1", {"lines": [{"id": 1, "amount": 9}, {"id": "x", "amount": 9}]}, 400, "lines[1].id"),
    ("PATCH", "/orders/1", {"lines": [{"id": 1, "_delete": 1}]}, 400, "lines[0]._delete"),
    ("PATCH", "/orders/1", {"lines": [{"id": 1, "amount": 9}, {"id": 2, "sku": "z"}]}, 409, "lines[1].sku"),
    ("PATCH", "/orders/2", {"lines": [{"id": 3, "_delete": True}]}, 403, ""),
    ("PATCH", "/orders/99", {"lines": []}, 404, ""),
    ("PUT", "/orders/2", {"code": "b", "lines": []}, 403, ""),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "field"), REFUSED)
def test_a_refused_child_undoes_all(shop: Shop, method: str, path: str, body: Any, status: int, field: str) -> None:
    """The answer names the child, and neither the row nor another child has changed."""
    before = shop.logged()
    answer = shop.send(method, path, body)
    assert answer.status == status, answer.body
    if field:
        assert answer.json["errors"][0]["field"] == field
    assert shop.lines() == LINES
    assert shop.client.get("/orders").meta["total"] == 2
    assert shop.logged() == before


def test_children_are_made_with_their_parent(shop: Shop) -> None:
    """The answer is the row with them; each has an entry of its own."""
    answer = shop.send("POST", "/orders", {"code": "c", "lines": [{"sku": "q", "amount": 5}], "stamps": []})
    assert answer.status == 201
    assert answer.headers["location"] == "/api/v1/orders/3"
    assert [line["sku"] for line in answer.data["lines"]] == ["q"]
    assert answer.data["stamps"] == []
    assert shop.lines() == [*LINES, (4, 3, "q", 5)]
    assert shop.logged() == [
        *["create orders", "create lines", "create lines"],
        *["create orders", "create lines"] * 2,
    ]


def test_a_change_makes_changes_and_removes_children(shop: Shop) -> None:
    """What is not named stays; the row has a new version, so that who knew the old one is told."""
    old = shop.client.get("/orders/1").headers["etag"]
    items = [{"id": 1, "amount": 7}, {"sku": "q", "amount": 5}, {"id": 2, "_delete": True}]
    answer = shop.send("PATCH", "/orders/1", {"lines": items}, (b"if-match", old.encode()))
    assert answer.status == 200, answer.body
    assert [(line["sku"], line["amount"]) for line in answer.data["lines"]] == [("x", 7), ("q", 5)]
    assert answer.data["version"] == 2
    assert shop.lines() == [(1, 1, "x", 7), (3, 2, "z", 200), (4, 1, "q", 5)]
    assert shop.send("PATCH", "/orders/1", {"lines": []}, (b"if-match", old.encode())).status == 412


def test_a_replacement_removes_what_it_does_not_name(shop: Shop) -> None:
    """Of the relations that it names; others stay as they are."""
    answer = shop.send(
        "PUT", "/orders/1", {"code": "a2", "lines": [{"id": 2, "amount": 3}, {"sku": "q", "amount": 4}]}
    )
    assert answer.status == 200, answer.body
    assert shop.lines() == [(2, 1, "y", 3), (3, 2, "z", 200), (4, 1, "q", 4)]
    assert shop.send("PUT", "/orders/1", {"code": "a3"}).status == 200
    assert shop.lines() == [(2, 1, "y", 3), (3, 2, "z", 200), (4, 1, "q", 4)]


def test_a_nested_write_is_done_once(shop: Shop) -> None:
    """With an Idempotency-Key, sent twice: one order, one line, one answer."""
    body = {"code": "c", "lines": [{"sku": "q", "amount": 5}]}
    first = shop.send("POST", "/orders", body, (b"idempotency-key", b"k"))
    second = shop.send("POST", "/orders", body, (b"idempotency-key", b"k"))
    assert (first.status, second.status, second.body) == (201, 201, first.body)
    assert second.headers["location"] == first.headers["location"]
    assert shop.lines() == [*LINES, (4, 3, "q", 5)]


def test_a_batch_may_nest(shop: Shop) -> None:
    """A nested write is an operation as any other."""
    create = {
        "method": "POST",
        "path": "/orders",
        "id": "o",
        "body": {"code": "c", "lines": [{"sku": "q", "amount": 5}]},
    }
    more = {"method": "PATCH", "path": "/orders/{o.id}", "body": {"lines": [{"sku": "r", "amount": 6}]}}
    answer = shop.send("POST", "/batch", {"operations": [create, more]})
    assert answer.status == 200, answer.body
    assert [line["sku"] for line in answer.data[1]["body"]["data"]["lines"]] == ["q", "r"]


OBJECTS: list[tuple[str, str, Any, bool]] = [
    *[(method, path, body, status != 400) for method, path, body, status, _ in REFUSED if status != 403],
    ("POST", "/orders", {"code": "c", "lines": [{"sku": "q", "amount": 1, "_delete": True}]}, False),
    ("POST", "/orders", {"code": "c", "lines": [{"id": 1, "sku": "q", "amount": 1}]}, False),
    ("POST", "/orders", {"code": "c", "lines": [{"sku": "q", "amount": 1, "order": {}}]}, False),
    ("POST", "/orders", {"code": "c", "notes": []}, False),
    ("PATCH", "/orders/1", {"lines": [{"amount": 9}]}, False),
    ("PATCH", "/orders/1", {"lines": [{"id": 1}, {"id": "2", "_delete": True}]}, True),
    ("PATCH", "/orders/1", {"lines": [{"id": 1, "amount": 2, "_delete": False}]}, False),
    ("PATCH", "/orders/1", {"lines": [{"id": 1, "amount": 2, "_delete": True}]}, False),
    ("PATCH", "/orders/1", {"lines": [{"id": 1, "amount": "2"}]}, False),
    ("PATCH", "/orders/1", {"lines": [{"id": 1, "version": 2}]}, False),
    ("PATCH", "/orders/1", {"lines": [{"id": 1, "order_id": 2}]}, False),
    ("PUT", "/orders/1", {"code": "a", "lines": [{"id": 1}, {"sku": "q", "amount": 3}]}, True),
    ("PATCH", "/orders", {"note": "n", "lines": []}, False),
    ("POST", "/orders", [{"code": "c"}, {"code": "d", "note": None}], True),
    ("POST", "/orders", [{"code": "c", "lines": []}], False),
    ("POST", "/orders", [], False),
    ("POST", "/orders", [{"code": "c"}, [{"code": "d"}]], False),
    ("POST", "/orders", [{"code": f"c{number}"} for number in range(1_001)], False),
    ("POST", "/lines", [{"sku": "q", "amount": 1}], False),
    ("POST", "/orders/1/lines", [{"sku": "q", "amount": 1}], False),
    ("POST", "/orders/1/lines", {"sku": "q", "amount": 1}, True),
]


@pytest.mark.parametrize(("method", "path", "body", "fits"), OBJECTS)
def test_the_document_admits_what_the_server_takes(shop: Shop, method: str, path: str, body: Any, fits: bool) -> None:
    """A body that its schema refuses is refused (400); one that it admits is taken, or refused for rows there are."""
    document = shop.app.openapi()
    template = "/api/v1" + re.sub(r"/[0-9]+", "/{key}", path)
    operation = document["paths"][template][method.lower()]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    admits = jsonschema_rs.validator_for({"components": document["components"], **schema}).is_valid(body)
    query = "?code=zz" if (method, path) == ("PATCH", "/orders") else ""
    answer = shop.send(method, path + query, body)
    assert str(answer.status) in operation["responses"]
    if answer.status == 400 and "is no row of" in answer.json["detail"]:
        return  # no schema knows which rows there are
    assert admits == fits, answer.body
    assert (answer.status != 400) == fits, answer.body


def test_only_what_somebody_may_do_is_said(shop: Shop) -> None:
    """Forms for rules that admit somebody, and none deeper than one relation."""
    schemas = shop.app.openapi()["components"]["schemas"]
    assert schemas["OrderLinesRemoval"]["required"] == ["id", "_delete"]
    assert schemas["OrderLinesChange"]["properties"].keys() == {"id", "sku", "amount"}
    assert schemas["OrderLineCreate"]["properties"].keys() == {"sku", "amount"}
    assert schemas["OrderCreate"]["properties"].keys() == {"code", "note", "lines", "stamps", "gifts"}
    assert [form["$ref"].rpartition("/")[2] for form in schemas["OrderGiftsItem"]["oneOf"]] == [
        "OrderGiftCreate",
        "OrderGiftsChange",
    ]
    assert schemas["OrderGiftsChange"]["properties"].keys() == {"id"}
    assert "seals" not in schemas["OrderUpdate"]["properties"]
