"""An app driven in this process: one call is one request, without sockets and without a server."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import sqlalchemy as sa

from backstay import Backstay, Config
from backstay.auth.tokens import Tokens
from backstay.db.engines import create_sync_engine

SECRET = "a secret of more than thirty-two bytes, for tests"
Pairs = Iterable[tuple[str, str]]
Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; `cookies` are its Set-Cookie headers."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """What the envelope holds."""
        return self.json["data"]

    @property
    def meta(self) -> Any:
        """The page's meta."""
        return self.json["meta"]


def bearer(subject: object, *, roles: Iterable[str] = (), secret: str = SECRET) -> str:
    """An Authorization header for a principal."""
    return "Bearer " + Tokens(secret).issue(subject, roles=list(roles), ttl_s=3_600)


def url_of(where: Path | str) -> str:
    """A database's URL, of itself or of a file."""
    return f"sqlite:///{where}" if isinstance(where, Path) else where


def sync_engine(where: Path | str) -> sa.Engine:
    """A SQLAlchemy engine on the app's own library; quick with a file, because tests throw the file away."""
    url = url_of(where)
    if not url.startswith("sqlite"):
        return create_sync_engine(url, write=True)
    return create_sync_engine(url, write=True, on_connect=lambda connection: connection.pragma("synchronous", 0))


class Client:
    """Sends requests to an app; leaving it closes the app's database and the loop."""

    def __init__(self, app: Backstay) -> None:
        self.app = app
        self.loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.run_until_complete(self.app.stop())
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def get(self, path: str, query: Pairs | str | bytes = (), **options: Any) -> Answer:
        """`GET` below the base path."""
        return self.request("GET", path, query, **options)

    def post(self, path: str, body: Any, **options: Any) -> Answer:
        """`POST` JSON below the base path."""
        return self.request("POST", path, body=body, **options)

    def request(self, method: str, path: str, query: Pairs | str | bytes = (), **options: Any) -> Answer:
        """One request; a body that is not bytes is sent as JSON."""
        return self.loop.run_until_complete(self.send(method, path, query, **options))

    async def send(
        self,
        method: str,
        path: str | bytes,
        query: Pairs | str | bytes = (),
        *,
        body: Any = None,
        credential: str = "",
        headers: Headers | None = None,
        more: Headers = (),
        base: str | None = None,
        peer: str = "192.0.2.1",
    ) -> Answer:
        """One request, for tests that send many at once.

        Args:
            headers: where given, all that is sent, but for `more`.
            base: the base path, if not the app's.
            peer: the address that it comes from.
        """
        raw = query if isinstance(query, (str, bytes)) else urlencode(list(query))
        path = path.encode() if isinstance(path, str) else path
        base = self.app.config.base_path if base is None else base
        full = base.encode() + path if path.startswith(b"/") else path
        sent = list(headers) if headers is not None else [(b"host", b"test")]
        if body is not None and headers is None:
            sent.append((b"content-type", b"application/json"))
        if credential:
            sent.append((b"authorization", credential.encode()))
        sent += list(more)
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        scope = {
            "type": "http",
            "method": method,
            "path": full.decode("utf-8", "replace"),
            "raw_path": full,
            "query_string": raw.encode() if isinstance(raw, str) else raw,
            "headers": sent,
            "scheme": "http",
            "client": (peer, 50_000),
        }
        seen: dict[str, Any] = {"body": b""}

        async def receive() -> dict[str, Any]:
            if "received" in seen:
                await asyncio.get_running_loop().create_future()  # the client stays, and says nothing more
            seen["received"] = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                seen["status"], seen["headers"] = message["status"], message["headers"]
            else:
                seen["body"] += message.get("body", b"")

        await self.app(scope, receive, send)
        named = {bytes(n).decode(): bytes(v).decode("latin-1") for n, v in seen["headers"]}
        cookies = [bytes(v).decode("latin-1") for n, v in seen["headers"] if bytes(n) == b"set-cookie"]
        return Answer(seen["status"], named, seen["body"], tuple(cookies))


def quiet(where: Path | str, **settings: Any) -> Config:
    """The settings of an app under test: its own file or database, no log lines, no limit on the rate."""
    given = {"secret": SECRET, "log_level": "error", "rate_limit": "off"} | settings
    return Config(database_url=url_of(where), **given)
