"""Rate limits as callers meet them: refusals first, whose requests count together, and two processes as one."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, ModelBase, public, signed_in
from backstay.console.pages import REFERENCE_SCRIPT
from backstay.context import Principal, PrincipalKind
from backstay.errors import OperatorError
from backstay.rest.limits import UNLIMITED
from support.asgi import Answer, Client, bearer, quiet, sync_engine
from support.server import Server, Wire, run
from support.valkey import Valkey


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Page(Base):
    """Under the default limit."""

    title: Mapped[str]


class Report(Base):
    """Under a limit of its own."""

    title: Mapped[str]


class Tick(Base):
    """Under none."""

    at: Mapped[str]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """An app that answers three requests a minute, and some routes by other rates."""
    path = tmp_path / "pages.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    app = Backstay("pages", config=quiet(path, rate_limit="3/minute"))
    app.resource(Page, read=public, create=signed_in)
    app.resource(Report, read=public, limit="1/minute")
    app.resource(Tick, read=public, limit="off")

    @app.post("/api/v1/pages/{page}/print", limit="2/hour")
    async def print_page(page: int) -> int:
        return page

    @app.get("/api/v1/pages/{page}/print")
    async def printed(page: int) -> int:
        return page

    @app.get("/api/v1/plain")
    async def plain() -> int:
        return 1

    with Client(app) as client:
        yield client


def statuses(client: Client, *requests: tuple[str, str], **options: Any) -> list[int]:
    """What requests are answered, one after the other."""
    return [client.request(method, path, **options).status for method, path in requests]


def refused(answer: Answer) -> Any:
    """The problem of one request too many."""
    assert answer.status == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "RATE_LIMITED"
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= 61
    assert answer.headers["ratelimit"] == f'"default";r=0;t={min(wait, 60)}'
    return answer.json


def test_one_request_too_many_is_refused_with_the_time_to_wait(client: Client) -> None:
    """429, a problem that names the limit, `Retry-After`, and no statement."""
    assert statuses(client, *[("GET", "/pages")] * 3, peer="192.0.2.1") == [200] * 3
    answer = client.get("/pages", peer="192.0.2.1")
    problem = refused(answer)
    assert "3 requests a minute" in problem["detail"]
    assert 'statements;desc="0"' in answer.headers["server-timing"]
    assert refused(client.post("/pages", {"title": "x"}, peer="192.0.2.1"))
    assert refused(client.get("/plain", peer="192.0.2.1"))


def test_what_leads_nowhere_counts_too(client: Client) -> None:
    """Guessing paths, methods or tokens costs a place each, and the fourth is refused before it is looked at."""
    options = {"peer": "192.0.2.2"}
    assert statuses(client, ("GET", "/nothing"), ("DELETE", "/pages"), **options) == [404, 405]
    assert client.get("/pages", credential="Bearer guessed", **options).status == 401
    for credential in ("", "Bearer guessed again"):
        assert refused(client.get("/pages", credential=credential, **options))
    assert refused(client.get("/nothing", **options))


def test_every_answer_says_what_is_left(client: Client) -> None:
    """`RateLimit` and `RateLimit-Policy` of the draft, on successes, refusals and custom endpoints alike."""
    options = {"peer": "192.0.2.3"}
    for left, path in ((2, "/pages"), (1, "/plain"), (0, "/nothing")):
        headers = client.get(path, **options).headers
        assert headers["ratelimit"] == f'"default";r={left};t=60'
        assert headers["ratelimit-policy"] == '"default";q=3;w=60'
    headers = client.get("/reports", **options).headers
    assert headers["ratelimit"] == '"reports";r=0;t=60'
    assert headers["ratelimit-policy"] == '"reports";q=1;w=60'
    headers = client.post("/pages/1/print", None, **options).headers
    assert headers["ratelimit"] == '"/api/v1/pages/{page}/print";r=1;t=3600'


def test_own_rates_count_apart(client: Client) -> None:
    """A resource's limit holds for all its routes, a custom endpoint's for all its paths; each by itself."""
    options = {"peer": "192.0.2.4"}
    assert statuses(client, ("GET", "/reports"), ("GET", "/reports/1"), **options) == [200, 429]
    assert statuses(client, ("HEAD", "/reports"), ("GET", "/reports/aggregate"), **options) == [429, 429]
    prints = [("POST", f"/pages/{page}/print") for page in (1, 2, 3)]
    assert statuses(client, *prints, ("GET", "/pages/4/print"), **options) == [200, 200, 429, 429]
    assert statuses(client, *[("GET", "/pages")] * 4, **options) == [200] * 3 + [429]
    assert statuses(client, *[("GET", "/ticks")] * 9, **options) == [200] * 9


def batch(*operations: tuple[str, str, Any]) -> dict[str, Any]:
    """The body of a batch."""
    return {"operations": [{"method": method, "path": path, "body": body} for method, path, body in operations]}


def test_a_batch_counts_as_its_operations(client: Client) -> None:
    """Each counts for its own route; the one too many undoes the batch, and one that is no batch counts as itself."""
    make, read, report = ("POST", "/pages", {"title": "x"}), ("GET", "/pages", None), ("GET", "/reports", None)
    options = {"peer": "192.0.2.6", "credential": bearer(3)}
    answer = client.post("/batch", batch(make, report, make), **options)
    assert (answer.status, answer.headers["ratelimit"]) == (200, '"default";r=1;t=60')
    refusal = client.post("/batch", batch(make, make, make), **options)
    assert refused(refusal)
    assert "operations[1]" in refusal.json["detail"]
    assert client.get("/pages", peer="192.0.2.7").json["meta"]["total"] == 2
    options = {"peer": "192.0.2.8", "credential": bearer(4)}
    assert client.post("/batch", batch(read, report), **options).status == 200
    assert client.post("/batch", batch(report), **options).headers["ratelimit"].startswith('"reports";r=0')
    for status in (400, 400, 429):
        assert client.post("/batch", {"operations": []}, **options).status == status


def test_probes_scrapes_and_assets_are_never_refused(client: Client) -> None:
    """Whoever watches the server may ask as often as it likes, and takes nothing of its address's places."""
    options = {"peer": "192.0.2.5", "base": ""}
    for path in ("/health/live", "/health/ready", "/metrics", f"/docs/assets/{REFERENCE_SCRIPT}"):
        assert path.startswith(UNLIMITED)
        for _ in range(5):
            answer = client.get(path, **options)
            assert (answer.status, answer.headers.get("ratelimit")) == (200, None)
    assert statuses(client, *[("GET", "/docs"), ("GET", "/openapi.json")] * 2, **options) == [200] * 3 + [429]


def test_users_keys_services_and_addresses_count_apart(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user from many addresses is one; two keys of one user are two; strangers are told apart by their address."""
    for number in range(3):
        assert client.get("/pages", credential=bearer(7), peer=f"192.0.2.{number}").status == 200
    assert client.get("/pages", credential=bearer(7), peer="192.0.2.9").status == 429
    assert client.get("/pages", credential=bearer(8), peer="192.0.2.9").status == 200
    assert client.get("/pages", peer="192.0.2.9").status == 200
    who = {
        b"key 1": Principal(PrincipalKind.USER, id="7", credential="key:1"),
        b"key 2": Principal(PrincipalKind.USER, id="7", credential="key:2"),
        b"session": Principal(PrincipalKind.USER, id="9", credential="session:1"),
        b"other session": Principal(PrincipalKind.USER, id="9", credential="session:2"),
        b"service": Principal(PrincipalKind.SERVICE, id="7", credential="client:7"),
    }
    known = lambda request: who[request.headers[b"authorization"]]  # noqa: E731
    monkeypatch.setattr(client.app.start().frame, "_authenticate", known)
    given = ["key 1"] * 4 + ["key 2"] * 4 + ["session", "other session"] * 2 + ["service"] * 4
    found = [client.get("/pages", credential=one).status for one in given]
    assert found == [200, 200, 200, 429] * 4


def test_a_subscriber_of_ipv6_is_one(client: Client) -> None:
    """Addresses of one /64 count together, those of IPv4 written as IPv6 each by itself."""
    same = [f"2001:db8:1:2::{number:x}" for number in (1, 2, 0xFFFF, 4)]
    assert [client.get("/pages", peer=peer).status for peer in same] == [200] * 3 + [429]
    assert client.get("/pages", peer="2001:db8:1:3::1").status == 200
    mapped = [f"::ffff:192.0.2.{number}" for number in range(1, 6)]
    assert [client.get("/pages", peer=peer).status for peer in mapped] == [200] * 5
    assert client.get("/pages", peer="fe80::1%eth0").status == 200


def test_a_rate_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    """The line names the setting, the resource or the path."""
    path = tmp_path / "none.db"
    sync_engine(path).connect().close()
    for limit, own, where in (("many", "", "BACKSTAY_RATE_LIMIT"), ("1/minute", "few", "limit of pages")):
        app = Backstay("pages", config=quiet(path, rate_limit=limit))
        app.resource(Page, read=public, limit=own)
        with pytest.raises(OperatorError, match=where):
            app.start()


#: Where every request is counted, and the process says who it is.
APP = """
import os

from sqlalchemy.orm import Mapped

from backstay import Backstay, Model, public


class Page(Model):
    title: Mapped[str]


app = Backstay("pages")
app.resource(Page, read=public)


@app.get("/pid")
async def pid() -> int:
    return os.getpid()
"""
COUNT, WINDOW_S = 200, 4.0


class Crowd:
    """Sixteen connections of one user that ask as fast as they are answered.

    Attributes:
        accepted: when each accepted request was answered, since the first was sent.
    """

    def __init__(self, wires: list[Wire]) -> None:
        self.wires = wires
        self.accepted: list[float] = []
        self.refused = 0
        self.pids: set[int] = set()
        self.began = time.monotonic()

    async def ask(self, wire: Wire) -> bool:
        """One request."""
        status, _, body = await wire.request("GET", "/pid", credential=CREDENTIAL)
        assert status in (200, 429), body
        if status == 200:
            self.accepted.append(time.monotonic() - self.began)
            self.pids.add(int(body))
        else:
            self.refused += 1
        return status == 200

    async def until(self, seconds: float) -> int:
        """Ask until that time; returns how many were accepted."""

        async def push(wire: Wire) -> int:
            count = 0
            while time.monotonic() - self.began < seconds:
                count += await self.ask(wire)
                await asyncio.sleep(0.005)
            return count

        return sum(await asyncio.gather(*(push(wire) for wire in self.wires)))

    async def sleep_until(self, seconds: float) -> None:
        """Do nothing."""
        await asyncio.sleep(max(0.0, self.began + seconds - time.monotonic()))


CREDENTIAL = bearer("one and the same")


@pytest.fixture
def pages(tmp_path: Path) -> tuple[Path, Path]:
    """The app file and its database."""
    path = tmp_path / "pages.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    app = tmp_path / "pages_app.py"
    app.write_text(APP)
    return app, path


@pytest.mark.alone
def test_two_processes_are_one_at_the_limit(pages: tuple[Path, Path]) -> None:
    """Hammered through two processes and one Valkey, within 1 % of the limit are accepted, and the window slides."""

    async def talk(server: Server) -> None:
        wires = [await server.connect() for _ in range(16)]
        crowd = Crowd(wires)
        for number in range(COUNT // 2):
            assert await crowd.ask(wires[number % 16])
        assert time.monotonic() - crowd.began < WINDOW_S / 4
        await crowd.sleep_until(WINDOW_S / 2)
        # Half of the places are taken; the others go at once, and nothing comes free until the first half is old.
        assert abs(await crowd.until(WINDOW_S - 0.1) - COUNT // 2) <= COUNT * 0.01
        # Now the first half comes free, and only that: a fixed window would have given all.
        await crowd.sleep_until(WINDOW_S + WINDOW_S / 3)
        assert abs(await crowd.until(WINDOW_S * 1.5 - 0.1) - COUNT // 2) <= COUNT * 0.01
        await crowd.until(WINDOW_S * 3)
        assert crowd.refused > COUNT
        assert len(crowd.pids) == 2
        for first in crowd.accepted:
            held = sum(first <= other < first + WINDOW_S * 0.98 for other in crowd.accepted)
            assert held <= COUNT * 1.01

    with Valkey() as valkey:
        settings = {"rate_limit": f"{COUNT}/{WINDOW_S:.0f} seconds", "valkey_url": valkey.url}
        with Server(*pages, "--workers", "2", **settings) as server:
            time.sleep(1)
            run(talk(server))


@pytest.mark.alone
def test_a_server_whose_valkey_is_away_goes_on(pages: tuple[Path, Path]) -> None:
    """From its start, and when it goes: answers come, are limited by this process, and the log says so once."""

    async def count(server: Server, who: str) -> list[int]:
        wire = await server.connect()
        return [(await wire.request("GET", "/pid", credential=bearer(who)))[0] for _ in range(6)]

    with Valkey() as valkey:
        settings = {"rate_limit": "5/minute", "valkey_url": valkey.url, "log_level": "warning", "log_format": "json"}
        with Server(*pages, **settings) as server:
            assert run(count(server, "ada")) == [200] * 5 + [429]
            valkey.stop()
            assert run(count(server, "ada")) == [200] * 5 + [429]
            assert run(count(server, "bob")) == [200] * 5 + [429]
            lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
            assert [line["event"] for line in lines] == ["limits_not_shared"]
            valkey.start()
            deadline = time.monotonic() + 10
            while run(count(server, f"again {time.monotonic()}")) and not valkey.client().dbsize():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert os.path.exists(f"/proc/{server.process.pid}")
