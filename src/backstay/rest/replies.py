"""Response bodies and validators: the envelope around bytes that the database made."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from ..config import Config
from ..http.messages import JSON_TYPE, Header, Request, Response

NO_CACHE: Header = (b"cache-control", b"no-cache")


class Envelope:
    """How success looks: `{"data": …}`, or `{"success": true, "data": …}` by choice."""

    def __init__(self, *, success_flag: bool = False) -> None:
        self._open = b'{"success":true,"data":' if success_flag else b'{"data":'

    def item(self, data: bytes) -> bytes:
        """One row."""
        return self._open + data + b"}"

    def page(self, data: bytes, meta: str) -> bytes:
        """Many rows; `meta` is its JSON."""
        return b"%b%b,%b" % (self._open, data, b'"meta":%b}' % meta.encode())


def etag_of(body: bytes, version: int | None = None) -> bytes:
    """A strong validator (RFC 9110 §8.8.3) of a representation; the row's version leads it where there is one.

    The digest makes it strong for every shape, and true even of rows that another program changed.
    """
    digest = hashlib.blake2b(body, digest_size=8).hexdigest()
    return (f'"{digest}"' if version is None else f'"{version}-{digest}"').encode()


def conditional(request: Request, status: int, body: bytes, headers: list[Header], etag: bytes) -> Response:
    """The body, or 304 when the caller has it already."""
    headers += ((b"etag", etag), NO_CACHE)
    wanted = request.headers.get(b"if-none-match")
    if wanted is not None and matches(wanted, etag):
        return Response(304, b"", headers)
    headers.append(JSON_TYPE)
    return Response(status, body, headers)


def matches(header: bytes, etag: bytes) -> bool:
    """Whether an If-None-Match header names the validator (weak comparison)."""
    if header.strip() == b"*":
        return True
    return any(candidate.strip().removeprefix(b"W/") == etag for candidate in header.split(b","))


def offset_meta(page: int, limit: int, total: int) -> str:
    """The meta of an offset page with total."""
    pages = -(-total // limit)
    following = "true" if page < pages else "false"
    before = "true" if page > 1 else "false"
    return (
        f'{{"page":{page},"limit":{limit},"total":{total},"pages":{pages},'
        f'"has_next":{following},"has_prev":{before}}}'
    )


def peek_meta(page: int, limit: int, count: int) -> str:
    """The meta of an offset page that was not counted; `count` rows were read, one more than the limit."""
    following = "true" if count > limit else "false"
    before = "true" if page > 1 else "false"
    return f'{{"page":{page},"limit":{limit},"has_next":{following},"has_prev":{before}}}'


def links(request: Request, name: str, targets: dict[str, str | int | None]) -> Header | None:
    """A Link header (RFC 8288): the same request with another page or cursor."""
    marker = name.encode() + b"="
    kept = [part for part in request.query.split(b"&") if part and not part.startswith(marker)]
    base = (request.path + b"?" + b"&".join([*kept, marker])).decode("ascii", "replace")
    base = quote(base, safe="/?&=%[]()-._~,:;@!$'*+")
    parts = [f'<{base}{value}>; rel="{rel}"' for rel, value in targets.items() if value is not None]
    return (b"link", ", ".join(parts).encode()) if parts else None


def location(config: Config, resource: str, key: list[object]) -> Header:
    """Where a new row is."""
    text = ",".join(quote(str(part), safe="") for part in key)
    return (b"location", f"{config.base_path}/{quote(resource)}/{text}".encode())
