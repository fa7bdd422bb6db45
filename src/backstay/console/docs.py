"""`/docs` and its assets: the API reference page, served with a policy that allows no other host."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import Problem
from ..http.messages import Page, Request, Response
from .pages import ASSETS_URL, CONTENT_SECURITY_POLICY, asset, asset_plain, reference_page


class Docs:
    """Answers the reference page of one app."""

    def __init__(self, title: str) -> None:
        self._title = title
        self.prefix = ASSETS_URL.encode()

    def page_of(self, contract_path: str) -> Callable[[Request], Response]:
        """Answers the page of the contract at a path."""
        page = reference_page(self._title, contract_path)

        def answer(request: Request) -> Response:
            headers = [
                (b"content-type", b"text/html; charset=utf-8"),
                (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
            ]
            return Page(200, page, headers)

        return answer

    def asset(self, request: Request) -> Response:
        """One of its files; the name carries its version, so it may be kept for ever."""
        name = request.path[len(self.prefix) :].decode("ascii", "replace")
        try:
            packed, media_type = asset(name)
        except KeyError:
            raise Problem("NOT_FOUND", "There is no such file.") from None
        headers = [
            (b"content-type", media_type.encode()),
            (b"cache-control", b"public, max-age=31536000, immutable"),
            (b"vary", b"accept-encoding"),
        ]
        if b"gzip" in request.headers.get(b"accept-encoding", b""):
            return Response(200, packed, [*headers, (b"content-encoding", b"gzip")])
        return Response(200, asset_plain(name), headers)
