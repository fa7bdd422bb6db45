"""Idempotency-Key: a request that is sent again has its effect once and gets the answer of the first time."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay import Backstay, Config, Context, ModelBase, Problem, has_role, public, signed_in
from backstay.db.recording import IDEMPOTENCY
from backstay.rest import idempotency
from support.asgi import SECRET, Answer, Client, bearer
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Purse(Base):
    """What is paid from."""

    __tablename__ = "purses"

    name: Mapped[str] = mapped_column(unique=True)
    coins: Mapped[int]


class Payment(Base):
    """What is paid."""

    __tablename__ = "payments"

    purse_id: Mapped[int] = mapped_column(ForeignKey("purses.id", ondelete="CASCADE"))
    coins: Mapped[int]


class Bank:
    """An app and its client."""

    def __init__(self, url: str) -> None:
        config = Config(database_url=url, secret=SECRET, log_level="error", rate_limit="off")
        self.app = Backstay("bank", config=config)
        self.app.resource(Purse, read=public, write=signed_in)
        self.app.resource(Payment, read=public, create=signed_in, update=Payment.coins > 0, delete=has_role("admin"))
        self.calls = 0

        @self.app.post("/api/v1/pay", status_code=201)
        async def pay(coins: int, ctx: Context, *, fail: bool = False) -> dict[str, int]:  # pyright: ignore
            """A custom endpoint that writes."""
            self.calls += 1
            async with self.app.transaction(ctx) as session:
                payment = Payment(purse_id=1, coins=coins)
                session.add(payment)
                await session.flush()
                if fail:
                    raise Problem("CONFLICT", "Not now.")
            return {"payment": payment.id, "call": self.calls}

        @self.app.post("/api/v1/think")
        async def think() -> dict[str, int]:  # pyright: ignore
            """A custom endpoint that writes nothing."""
            self.calls += 1
            return {"call": self.calls}

        self.client = Client(self.app)

    async def send(self, method: str, path: str, body: Any, key: str, **options: Any) -> Answer:
        """A request with a key."""
        headers = [(b"idempotency-key", key.encode()), (b"content-type", b"application/json")]
        credential = options.pop("credential", bearer(7))
        query = options.pop("query", "")
        return await self.client.send(method, path, query, body=body, credential=credential, headers=headers)

    def ask(self, *arguments: Any, **options: Any) -> Answer:
        """The same, waited for."""
        return self.client.loop.run_until_complete(self.send(*arguments, **options))

    def total(self, path: str) -> int:
        """How many rows there are."""
        return self.client.get(path).meta["total"]

    def operations(self) -> list[str]:
        """What the change log has."""
        found = self.client.loop.run_until_complete(self.app.changes.after(0, 1_000))
        return [f"{change.operation} {change.table}" for change in found]

    def records(self) -> list[str]:
        """The keys of all records."""

        async def read() -> list[str]:
            async with self.app.transaction() as session:
                return [row.key for row in await session.execute(sa.select(IDEMPOTENCY.c.key))]

        return self.client.loop.run_until_complete(read())

    def age(self, hours: int) -> None:
        """Let every record be so old."""

        async def move() -> None:
            async with self.app.transaction() as session:
                for record in (await session.execute(sa.select(IDEMPOTENCY.c.key, IDEMPOTENCY.c.at))).all():
                    older = sa.update(IDEMPOTENCY).where(IDEMPOTENCY.c.key == record.key)
                    await session.execute(older.values(at=record.at - timedelta(hours=hours)))

        self.client.loop.run_until_complete(move())


@pytest.fixture(params=DATABASES)
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bank]:
    """A bank without rows."""
    made = Bank(empty_database(request.param, tmp_path, Base.metadata))
    with made.client:
        yield made


def same(first: Answer, second: Answer) -> None:
    """The second is the first again, and says so."""
    assert (second.status, second.body) == (first.status, first.body)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    for name in ("etag", "location", "content-type"):
        assert second.headers.get(name) == first.headers.get(name)


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
def test_what_is_no_key_is_refused(bank: Bank, key: str) -> None:
    """400 that names the header; nothing is written."""
    answer = bank.ask("POST", "/purses", {"name": "a", "coins": 1}, key)
    assert answer.status == 400
    assert answer.json["errors"][0]["field"] == "Idempotency-Key"
    assert bank.operations() == []


def test_another_request_with_a_used_key_is_422(bank: Bank) -> None:
    """Another body, path, query or method: nothing is written, and the answer tells nothing of the first."""
    assert bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k").status == 201
    for method, path, body in (
        ("POST", "/purses", {"name": "b", "coins": 1}),
        ("POST", "/payments", {"name": "a", "coins": 1}),
        ("PATCH", "/purses/1", {"name": "a", "coins": 1}),
        ("DELETE", "/purses/1", None),
        ("POST", "/pay", None),
    ):
        answer = bank.ask(method, path, body, "k", query="coins=1" if path == "/pay" else "")
        if answer.status != 422:
            assert (path, answer.status) == ("/payments", 400)
            continue
        assert answer.json["code"] == "IDEMPOTENCY_KEY_REUSED"
        assert b'"a"' not in answer.body
    assert bank.operations() == ["create purses"]


def test_a_key_is_its_senders_own(bank: Bank) -> None:
    """Another principal with the same key and the same request is a first request."""
    first = bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k")
    other = bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k", credential=bearer(8))
    assert (first.status, other.status) == (201, 409)
    assert other.json["code"] == "CONFLICT"


def test_a_refused_request_may_be_mended_with_its_key(bank: Bank) -> None:
    """What changed nothing is not kept: invalid, forbidden, in conflict."""
    assert bank.ask("POST", "/purses", {"name": "a"}, "k").status == 400
    assert bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k", credential="").status == 401
    assert bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k").status == 201
    assert bank.ask("POST", "/pay", None, "k1", query="coins=2&fail=true").status == 409
    assert bank.ask("POST", "/pay", None, "k1", query="coins=2").status == 201


def test_each_write_is_done_once(bank: Bank) -> None:
    """Create, change, replace and delete: the second answer is the first, byte by byte, and one entry is logged."""
    steps: list[tuple[str, str, Any]] = [
        ("POST", "/purses", {"name": "a", "coins": 1}),
        ("POST", "/payments", {"purse_id": 1, "coins": 3}),
        ("PATCH", "/purses/1", {"coins": 2}),
        ("PATCH", "/payments/1", {"coins": 5}),
        ("PUT", "/purses/1", {"name": "b", "coins": 9}),
        ("DELETE", "/purses/1", None),
    ]
    for number, (method, path, body) in enumerate(steps):
        first = bank.ask(method, path, body, f"k{number}")
        assert first.status in (200, 201, 204), first.body
        same(first, bank.ask(method, path, body, f'"k{number}"'))
    for number, (method, path, body) in enumerate(steps):
        assert bank.ask(method, path, body, f"k{number}").headers["idempotency-replayed"] == "true"
    logged = bank.operations()
    assert logged[:5] == ["create purses", "create payments", "update purses", "update payments", "update purses"]
    assert sorted(logged[5:]) == ["delete payments", "delete purses"]


def test_a_row_with_its_entry_and_its_record_is_one_statement(bank: Bank) -> None:
    """Where no hook asks for more, neither the change log nor a key costs a create a round trip."""
    answer = bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k")
    assert answer.status == 201
    assert 'statements;desc="1"' in answer.headers["server-timing"]
    assert (bank.operations(), len(bank.records())) == (["create purses"], 1)


def test_a_refused_row_keeps_no_key(bank: Bank) -> None:
    """A row that its check refuses after the fact: nothing is kept, and the key is free."""
    bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k1")
    bank.ask("POST", "/payments", {"purse_id": 1, "coins": 3}, "k2")
    assert bank.ask("PATCH", "/payments/1", {"coins": -3}, "k3").status == 403
    assert bank.ask("PATCH", "/payments/1", {"coins": 4}, "k3").status == 200


def test_a_custom_endpoint_is_called_once(bank: Bank) -> None:
    """With a transaction or without: the second request gets the first answer, and the function is not called."""
    bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k")
    first = bank.ask("POST", "/pay", None, "k1", query="coins=4")
    assert (first.status, first.json) == (201, {"payment": 1, "call": 1})
    same(first, bank.ask("POST", "/pay", None, "k1", query="coins=4"))
    first = bank.ask("POST", "/think", None, "k2")
    same(first, bank.ask("POST", "/think", None, "k2"))
    assert bank.ask("POST", "/pay", None, "k1", query="coins=5").status == 422
    assert (bank.calls, bank.total("/payments")) == (2, 1)


def test_two_hundred_at_once_have_one_effect(bank: Bank) -> None:
    """Of parallel requests with one key one writes; the others get its answer, or 409 to come again."""
    bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k")

    async def all_of(path: str, body: Any, key: str, query: str = "") -> list[Answer]:
        return await asyncio.gather(*(bank.send("POST", path, body, key, query=query) for _ in range(200)))

    for path, body, query, key in (
        ("/payments", {"purse_id": 1, "coins": 1}, "", "k1"),
        ("/pay", None, "coins=1", "k2"),
    ):
        before = bank.total("/payments")
        answers = bank.client.loop.run_until_complete(all_of(path, body, key, query))
        made = [answer for answer in answers if "idempotency-replayed" not in answer.headers and answer.status == 201]
        assert len(made) == 1
        assert {answer.status for answer in answers} <= {201, 409}
        assert {answer.body for answer in answers if answer.status == 201} == {made[0].body}
        assert {a.json["code"] for a in answers if a.status == 409} <= {"IDEMPOTENCY_IN_PROGRESS"}
        assert bank.total("/payments") == before + 1
        assert bank.ask("POST", path, body, key, query=query).body == made[0].body


def test_an_old_record_is_dropped(bank: Bank) -> None:
    """After a day the key stands for a new request."""
    bank.ask("POST", "/purses", {"name": "a", "coins": 1}, "k")
    first = bank.ask("POST", "/payments", {"purse_id": 1, "coins": 1}, "k1")
    bank.age(23)
    same(first, bank.ask("POST", "/payments", {"purse_id": 1, "coins": 1}, "k1"))
    bank.age(2)
    again = bank.ask("POST", "/payments", {"purse_id": 1, "coins": 1}, "k1")
    assert (again.status, "idempotency-replayed" in again.headers) == (201, False)
    assert bank.total("/payments") == 2
    same(again, bank.ask("POST", "/payments", {"purse_id": 1, "coins": 1}, "k1"))


def test_records_nobody_asks_for_go_too(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a process serves, records older than a day are dropped, however many; younger ones stay."""
    monkeypatch.setattr(idempotency, "DROPPED_MAX", 2)
    for number in range(5):
        bank.ask("POST", "/purses", {"name": f"{number}", "coins": 1}, f"old-{number}")
    bank.age(25)
    bank.ask("POST", "/purses", {"name": "young", "coins": 1}, "young")
    assert len(bank.records()) == 6
    monkeypatch.setattr(idempotency, "DROP_S", 0.01)
    keeper = idempotency.Idempotency(bank.app.start().sessions)

    async def work() -> None:
        keeper.dropping.start()
        await asyncio.sleep(0.5)
        keeper.dropping.stop()

    bank.client.loop.run_until_complete(work())
    assert len(bank.records()) == 1
    assert bank.total("/purses") == 6
    assert len(bank.app.start().periodic) == 2, "a server does so by itself, and seals the change log"
