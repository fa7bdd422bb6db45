"""Batches and hooks: several writes are one transaction, with what the program does before and after them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, Config, ModelBase, Problem, Write, public, signed_in
from support.asgi import SECRET, Answer, Client, bearer
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Order(Base):
    """What is bought."""

    __tablename__ = "orders"

    code: Mapped[str] = mapped_column(unique=True)
    total: Mapped[int] = mapped_column(default=0)
    owner: Mapped[int | None]
    lines: Mapped[list["Line"]] = relationship(back_populates="order")


class Line(Base):
    """A part of an order."""

    __tablename__ = "lines"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    amount: Mapped[int]
    order: Mapped[Order] = relationship(back_populates="lines")


class Shop:
    """An app whose hooks keep totals."""

    def __init__(self, url: str) -> None:
        config = Config(database_url=url, secret=SECRET, log_level="error", rate_limit="off")
        self.app = app = Backstay("shop", config=config)
        mine = sa.or_(Order.owner.is_(None), Order.owner == 7)
        app.resource(Order, read=public, create=signed_in, update=mine, delete=mine)
        app.resource(Line, read=public, write=signed_in)
        self.committed: list[tuple[str, Any]] = []

        @app.before_create(Line)
        async def bounded(write: Write) -> None:  # pyright: ignore
            """No line is larger than a hundred; negative ones are made positive."""
            if write.values["amount"] > 100:
                raise Problem("CONFLICT", "Too much.")
            write.values["amount"] = abs(write.values["amount"])

        @app.after_create(Line)
        async def counted(write: Write) -> None:  # pyright: ignore
            """The order knows its total."""
            assert write.session is not None
            assert write.row is not None
            order = await write.session.get(Order, write.row["order_id"])
            assert order is not None
            order.total += write.row["amount"]

        @app.before_delete(Order)
        async def kept(write: Write) -> None:  # pyright: ignore
            """An order with the code `keep` stays."""
            assert write.session is not None
            if await write.session.scalar(sa.select(Order.code).where(Order.id == int(write.key[0]))) == "keep":
                raise Problem("CONFLICT", "It stays.")

        @app.after_commit(Order)
        async def told(write: Write) -> None:  # pyright: ignore
            """Somebody else hears of it."""
            self.committed.append((write.action, None if write.row is None else write.row["code"]))
            raise RuntimeError("nobody minds")

        self.client = Client(app)

    def send(self, method: str, path: str, body: Any = None, *, who: int | None = 7, key: str = "") -> Answer:
        """A request."""
        headers = [(b"content-type", b"application/json")]
        headers += [(b"idempotency-key", key.encode())] if key else []
        credential = "" if who is None else bearer(who)
        return self.client.request(method, path, body=body, credential=credential, headers=headers)

    def batch(self, *operations: dict[str, Any], key: str = "", **more: Any) -> Answer:
        """A batch."""
        return self.send("POST", "/batch", {"operations": list(operations), **more}, key=key)

    def logged(self) -> list[str]:
        """What the change log has."""
        found = self.client.loop.run_until_complete(self.app.changes.after(0, 1_000))
        assert self.client.loop.run_until_complete(self.app.changes.verify()).broken is None
        return [f"{change.operation} {change.table}" for change in found]


@pytest.fixture(params=DATABASES)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A shop without orders."""
    made = Shop(empty_database(request.param, tmp_path, Base.metadata))
    with made.client:
        yield made


def post(path: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An operation that creates."""
    return {"method": "POST", "path": path, "body": body, **more}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "operations"),
    ({"operations": []}, "operations"),
    ({"operations": [post("/orders", {"code": "a"})] * 101}, "operations"),
    ({"operations": [{"method": "TRACE", "path": "/orders"}]}, "operations[0].method"),
    ({"operations": [{"method": "GET", "path": "orders"}]}, "operations[0].path"),
    ({"operations": [{"method": "DELETE", "path": "/orders"}]}, "operations[0].query"),
    ({"operations": [post("/orders", {"code": "a"}, more=1)]}, "operations[0].more"),
    ({"operations": [post("/orders", {"code": "a"})], "dry_run": "yes"}, "dry_run"),
    ({"operations": [post("/orders", {"code": 1})]}, "operations[0].code"),
    ({"operations": [post("/orders", {"code": {"$ref": "b.id"}})]}, "operations[0].reference"),
    ({"operations": [post("/orders", {"code": "a"}), post("/lines", {"order_id": {"$ref": "0"}, "amount": 1})]}, ""),
]


@pytest.mark.parametrize(("body", "field"), REFUSED)
def test_a_bad_batch_changes_nothing(shop: Shop, body: dict[str, Any], field: str) -> None:
    """400 that says which operation is at fault, and nothing of the batch remains."""
    answer = shop.send("POST", "/batch", body)
    assert answer.status == 400, answer.body
    assert answer.json["errors"][0]["field"].startswith(field)
    assert (shop.logged(), shop.committed) == ([], [])


def test_one_refusal_undoes_all(shop: Shop) -> None:
    """A taken code, a row that is not there or may not be changed, who is not signed in, a batch in a batch."""
    shop.send("POST", "/orders", {"code": "other", "owner": 8})
    before, shop.committed = shop.logged(), []
    first = post("/orders", {"code": "a"})
    for operation, status, code in (
        (post("/orders", {"code": "a"}), 409, "CONFLICT"),
        ({"method": "PATCH", "path": "/orders/99", "body": {"code": "b"}}, 404, "NOT_FOUND"),
        ({"method": "PATCH", "path": "/orders/1", "body": {"code": "b"}}, 403, "FORBIDDEN"),
        (post("/batch", {"operations": []}), 404, "NOT_FOUND"),
        ({"method": "GET", "path": "/nowhere"}, 404, "NOT_FOUND"),
    ):
        answer = shop.batch(first, operation)
        assert (answer.status, answer.json["code"]) == (status, code), answer.body
        assert answer.json["detail"].startswith("operations[1] (")
        assert (shop.logged(), shop.committed) == (before, [])
    signed_out = shop.send("POST", "/batch", {"operations": [first]}, who=None)
    assert signed_out.status == 401
    assert shop.logged() == before


def test_an_operation_refers_to_what_was_made_before(shop: Shop) -> None:
    """By name and by number, in bodies and in paths; the answers come in order."""
    answer = shop.batch(
        post("/orders", {"code": "a/b"}, id="order"),
        post("/lines", {"order_id": {"$ref": "order.id"}, "amount": 3}),
        post("/orders/{order.id}/lines", {"amount": 4}),
        {"method": "GET", "path": "/orders/{0.id}?include=lines&fields=code,total"},
        {"method": "PATCH", "path": "/orders/{order.id}", "body": {"code": "c"}},
        {"method": "DELETE", "path": "/lines/{1.id}"},
    )
    assert answer.status == 200, answer.body
    assert answer.meta == {"dry_run": False, "operations": 6}
    assert [part["status"] for part in answer.data] == [201, 201, 201, 200, 200, 204]
    order = answer.data[3]["body"]["data"]
    assert (order["code"], order["total"], [line["amount"] for line in order["lines"]]) == ("a/b", 7, [3, 4])
    assert answer.data[0]["headers"]["location"] == "/api/v1/orders/1"
    assert answer.data[5]["body"] is None
    assert shop.client.get("/orders/1").data["code"] == "c"
    assert shop.client.get("/lines").meta["total"] == 1


def test_a_dry_run_tells_and_leaves_nothing(shop: Shop) -> None:
    """The answers are those of the real run, but no row, no entry and no call behind the commit comes of it."""
    operations = (post("/orders", {"code": "a"}, id="o"), post("/lines", {"order_id": {"$ref": "o.id"}, "amount": 3}))
    tried = shop.batch(*operations, dry_run=True)
    assert (tried.status, tried.meta["dry_run"]) == (200, True)
    assert [part["status"] for part in tried.data] == [201, 201]
    assert (shop.logged(), shop.committed) == ([], [])
    assert shop.batch(*operations).status == 200
    assert sorted(shop.logged()) == ["create lines", "create orders", "update orders"]
    assert shop.batch(*operations, dry_run=True).status == 409


def test_a_batch_is_done_once(shop: Shop) -> None:
    """Sent again with its key it has no second effect, and the same answer."""
    operation = post("/orders", {"code": "a"})
    first = shop.batch(operation, key="k")
    second = shop.batch(operation, key="k")
    assert (first.status, second.status, second.body) == (200, 200, first.body)
    assert second.headers["idempotency-replayed"] == "true"
    assert shop.logged() == ["create orders"]
    assert shop.batch(post("/orders", {"code": "b"}), key="k").status == 422


def test_conditions_hold_within_a_batch(shop: Shop) -> None:
    """If-Match of an operation: the wrong version undoes the batch."""
    etag = shop.send("POST", "/orders", {"code": "a"}).headers["etag"]
    change = {"method": "PATCH", "path": "/orders/1", "body": {"code": "b"}, "headers": {"If-Match": etag}}
    assert shop.batch(change, change | {"body": {"code": "c"}}).status == 412
    assert shop.client.get("/orders/1").data["code"] == "a"
    assert shop.batch(change).status == 200


def test_hooks_are_part_of_the_write(shop: Shop) -> None:
    """Before: they change values and refuse. After: what they write commits with it. Behind the commit: no more."""
    shop.send("POST", "/orders", {"code": "a"})
    assert shop.send("POST", "/lines", {"order_id": 1, "amount": 101}).status == 409
    assert shop.send("POST", "/lines", {"order_id": 99, "amount": 1}).status == 409
    made = shop.send("POST", "/lines", {"order_id": 1, "amount": -5}, key="k")
    assert (made.status, made.data["amount"]) == (201, 5)
    assert shop.send("POST", "/lines", {"order_id": 1, "amount": -5}, key="k").body == made.body
    assert shop.client.get("/orders/1").data["total"] == 5
    shop.send("PATCH", "/orders/1", {"code": "keep"})
    assert shop.send("DELETE", "/orders/1").status == 409
    shop.send("PATCH", "/orders/1", {"code": "b"})
    assert shop.send("DELETE", "/orders/1").status == 204
    assert shop.committed == [("create", "a"), ("update", "keep"), ("update", "b"), ("delete", None)]
