"""Response bodies and validators: the envelope around bytes that the database made."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

import xxhash

from ..config import Config
from ..errors import FieldError, Problem
from ..http.messages import JSON_TYPE, Header, Request, Response

#: Of an If-Match or If-None-Match header; some hundred validators.
ETAGS_BYTES_MAX = 8_192


class Envelope:
    """How success looks: `{"data": …}`, or `{"success": true, "data": …}` by choice."""

    def __init__(self, *, success_flag: bool = False) -> None:
        self._open = b'{"success":true,"data":' if success_flag else b'{"data":'

    def item(self, data: bytes) -> bytes:
        """One row."""
        return self._open + data + b"}"

    def page(self, data: bytes, meta: bytes) -> bytes:
        """Many rows; `meta` is its JSON."""
        return b'%b%b,"meta":%b}' % (self._open, data, meta)


def etag_of(body: bytes, version: int | None = None) -> bytes:
    """A strong validator (RFC 9110 §8.8.3) of a representation; the row's version leads it where there is one.

    The digest makes it strong for every shape, and true even of rows that another program changed.
    """
    digest = xxhash.xxh3_128_intdigest(body)
    return b'"%032x"' % digest if version is None else b'"%d-%032x"' % (version, digest)


def conditional(request: Request, status: int, body: bytes, headers: list[Header], etag: bytes) -> Response:
    """The body, or 304 when the caller has it already."""
    wanted = request.headers.get(b"if-none-match")
    if wanted is not None:
        if len(wanted) > ETAGS_BYTES_MAX:
            raise too_many_etags("If-None-Match")
        if matches(wanted, etag):
            return Response(304, b"", [(b"etag", etag), *headers])
    return Response(status, body, [JSON_TYPE, (b"etag", etag), *headers])


def too_large() -> Problem:
    """The refusal of an answer, whichever database made it."""
    return Problem("RESULT_TOO_LARGE", "The answer would be larger than this server sends.")


def too_many_etags(header: str) -> Problem:
    """Not a `ValidationError`: to whoever reads a row, that is a key which no row has."""
    error = FieldError(header, "too_long", f"at most {ETAGS_BYTES_MAX} bytes.")
    return Problem("VALIDATION_ERROR", f"{error.field}: {error.message}", errors=[error])


def matches(header: bytes, etag: bytes) -> bool:
    """Whether an If-None-Match header names the validator (weak comparison)."""
    if header.strip() == b"*":
        return True
    return any(candidate.strip().removeprefix(b"W/") == etag for candidate in header.split(b","))


def offset_meta(page: int, limit: int, total: int, pages: int) -> bytes:
    """The meta of an offset page with total."""
    return (
        f'{{"page":{page},"limit":{limit},"total":{total},"pages":{pages},'
        f'"has_next":{"true" if page < pages else "false"},"has_prev":{"true" if page > 1 else "false"}}}'
    ).encode()


def peek_meta(page: int, limit: int, *, more: bool) -> bytes:
    """The meta of an offset page that was not counted."""
    following = "true" if more else "false"
    before = "true" if page > 1 else "false"
    return f'{{"page":{page},"limit":{limit},"has_next":{following},"has_prev":{before}}}'.encode()


def link_base(request: Request, name: str) -> str:
    """The request's own URL up to the value of its page or cursor, which comes last."""
    marker = name.encode() + b"="
    kept = [part for part in request.query.split(b"&") if part and not part.startswith(marker)]
    base = (request.path + b"?" + b"&".join([*kept, marker])).decode("ascii", "replace")
    return quote(base, safe="/?&=%[]()-._~,:;@!$'*+")


def page_links(base: str, page: int, last: int | None, *, more: bool) -> Header | None:
    """A Link header (RFC 8288) of an offset page; `last` is unknown where rows were not counted."""
    if not more and page == 1:
        return None
    parts = f'<{base}1>; rel="first"'
    if page > 1:
        parts += f', <{base}{page - 1}>; rel="prev"'
    if more:
        parts += f', <{base}{page + 1}>; rel="next"'
    if last:
        parts += f', <{base}{last}>; rel="last"'
    return (b"link", parts.encode())


def cursor_links(base: str, before: str | None, following: str | None) -> Header | None:
    """A Link header of a keyset page."""
    targets = (("prev", before), ("next", following))
    parts = [f'<{base}{cursor}>; rel="{rel}"' for rel, cursor in targets if cursor is not None]
    return (b"link", ", ".join(parts).encode()) if parts else None


def location(config: Config, resource: str, key: list[object]) -> Header:
    """Where a new row is."""
    text = ",".join(str(part) if type(part) is int else quote(str(part), safe="") for part in key)
    return (b"location", f"{config.base_path}/{_quoted(resource)}/{text}".encode())


#: A resource's name in a path.
_quoted = lru_cache(maxsize=1_024)(quote)
