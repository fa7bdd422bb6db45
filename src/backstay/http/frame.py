"""The frame: one ASGI callable that wraps every request, generated or custom.

In: request id, size limits, client address, principal, rate limit. Out: problem details for any failure, the frame's
headers, one log line and the metrics. It is flat on purpose: a stack of middleware would cost more than the query.
"""

from __future__ import annotations

import asyncio
import re
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uuid_utils import uuid7

from ..config import Config
from ..context import ANONYMOUS, ClientGoneError, Context, Principal
from ..errors import Problem, problem_body
from ..observe import Log, Observations, Series
from ..stores.limits import Verdict
from .consistency import read_after
from .cors import is_preflight
from .custom import CONTEXT_KEY
from .deadline import in_time
from .headers import Outgoing
from .messages import PROBLEM_TYPE, Application, Receive, Request, Response, Scope, Send, Streamed
from .patience import CLOSE, Patience
from .proxies import Proxies
from .quotas import UNLIMITED, Quotas, address_of

Handler = Callable[[Request], "Response | Awaitable[Response]"]
#: Whose request it is, for one that has a credential.
Authenticate = Callable[[Request], "Principal | Awaitable[Principal]"]
#: `(handler, series of its route)` for a request; `None` leaves it to the custom endpoints.
Route = Callable[[Request], "tuple[Handler, Series] | None"]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}\Z")
#: What clients mostly send in Accept; anything else is looked at.
_ACCEPTED = frozenset({None, b"*/*", b"application/json"})
_JSON_MEDIA = (b"json", b"*/*", b"application/*")
#: Headers in one request; the server bounds their bytes.
HEADERS_MAX = 100
#: Two of these would mean different things to different readers.
_SINGLE = (
    *(b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding"),
    *(b"authorization", b"origin"),
)
#: Whoever is in front may have read any other as no body at all.
_TRANSFERS = frozenset({None, b"chunked"})
FLUSH_S = 0.2
#: What the log says of a request whose client went away before an answer.
_DISCONNECTED = 499


class Frame:
    """See the module.

    Args:
        route: the generated endpoint of a request, if it is one.
        other: the endpoint of any other request.
        quotas: the rate limits of routes.
        fallback: the ASGI app of the custom endpoints, if there is one.
        cookies: whether a cookie, or an API key in a header of its own, may be a credential.
        visitors: whether it matters who asks where there is no credential.
        bases: the path prefixes below which answers are JSON; by default that of the API.

    Raises:
        OperatorError: a setting of CORS or of trusted proxies that says nothing.
    """

    def __init__(
        self,
        config: Config,
        route: Route,
        other: Route,
        authenticate: Authenticate,
        *,
        observations: Observations,
        log: Log,
        quotas: Quotas = UNLIMITED,
        fallback: Application | None = None,
        success_flag: bool = False,
        cookies: bool = False,
        visitors: bool = False,
        bases: tuple[str, ...] = (),
    ) -> None:
        self._cookies = cookies
        self._visitors = visitors
        self._bases = tuple(base.encode() for base in bases or (config.base_path,))
        self.observations = observations
        self.log = log
        self._route = route
        self._other_route = other
        self._authenticate = authenticate
        self._quotas = quotas
        self._fallback = fallback
        self._config = config
        self._timeout_s = config.request_timeout_s
        self._url_bytes_max = config.url_bytes_max
        self._success_flag = success_flag
        self._lines = log.enabled("info")
        self._replicated = bool(config.replicas)
        self._proxies = Proxies(config.trusted_proxies) if config.trusted_proxies else None
        self._outgoing = Outgoing(config)
        self._cors = self._outgoing.cors
        self._patience = Patience()
        self._custom = observations.request("*", "custom")
        self._preflights = observations.request("OPTIONS", "preflight")
        self._unrouted = observations.request("*", "unmatched")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; other protocols are for the custom endpoints."""
        if scope["type"] != "http":
            return await self._other(scope, receive, send)
        started = time.monotonic()
        self.observations.in_flight += 1
        request = self._open(scope, receive, started)
        context = request.context
        status, size = _DISCONNECTED, 0
        seconds: float | None = None
        try:
            try:
                response = await self._answer(request, receive, send)
            except Problem as problem:
                response = await self._refuse(problem, request)
            except ClientGoneError:
                return None
            except Exception as error:
                response = self._failure(error, request)
            status, size = response.status, len(response.body)
            if request.sent:
                return None
            seconds = time.monotonic() - started
            self._outgoing.finish(response, request, seconds)
            await send({"type": "http.response.start", "status": status, "headers": response.headers})
            body = response.body if request.method != "HEAD" else b""
            if type(response) is Streamed and request.method != "HEAD":
                size = await _stream(response, send)
            else:
                await send({"type": "http.response.body", "body": body})
        finally:
            self.observations.in_flight -= 1
            if seconds is None:
                seconds = time.monotonic() - started
            (request.series or self._unrouted).add(seconds, status)
            if self._lines:
                self.log.request(context, request.method, request.path, status, seconds, size)

    def _open(self, scope: Scope, receive: Receive, started: float) -> Request:
        """The request with its id, its deadline and its client's address."""
        context = Context("", ANONYMOUS, started + self._timeout_s)
        request = Request(scope, receive, context, started, self._config.body_bytes_max, self._patience)
        given = request.headers.get(b"x-request-id")
        if given is None or not _REQUEST_ID.match(given):
            context.request_id = str(uuid7())
        else:
            context.request_id = given.decode("ascii")
        client = scope.get("client")
        if client is not None:
            context.ip = client[0]
        context.scheme = scope.get("scheme", "http")
        if self._proxies is not None:
            context.ip, context.scheme = self._proxies.client(context.ip, context.scheme, scope["headers"])
        return request

    async def _answer(self, request: Request, receive: Receive, send: Send) -> Response:
        """Everything between the request and its response.

        Raises:
            Problem: every refusal.
        """
        headers, context = request.headers, request.context
        given = len(request.scope["headers"])
        if (
            len(request.path) + len(request.query) > self._url_bytes_max
            or headers.get(b"accept") not in _ACCEPTED
            or headers.get(b"transfer-encoding") not in _TRANSFERS
            or given != len(headers)
            or given > HEADERS_MAX
        ):
            self._admit(request)
        if self._cors is not None and request.method == "OPTIONS" and is_preflight(request):
            request.series = self._preflights
            return self._cors.preflight(request)
        if self._replicated:
            context.read_after = read_after(headers)
        if (
            b"authorization" in headers
            or (self._cookies and (b"cookie" in headers or b"x-api-key" in headers))
            or self._visitors
        ):
            principal = self._authenticate(request)
            context.principal = principal if isinstance(principal, Principal) else await principal
        found = self._route(request) or self._other_route(request)
        quotas = self._quotas
        if found is not None:
            handler, request.series = found
            quota = quotas.routes.get(request.series, quotas.default)
        else:
            handler, request.series = None, self._custom
            quota = quotas.custom(request) if quotas.custom is not None else quotas.default
        if quota is not None:
            verdict = quota.hit(context.principal.counted or address_of(context.ip))
            if not isinstance(verdict, tuple):
                verdict = await verdict
            request.quota = quota.headers(verdict)
            if verdict[0] < 0:
                raise quota.refusal(verdict)
        if handler is None:
            return await self._serve_custom(request, send)
        answer = handler(request)
        if isinstance(answer, Response):
            return answer
        if request.method == "GET":  # it has no body that somebody might still read
            context.receive = receive
        return await answer

    def _admit(self, request: Request) -> None:
        """Limits of the URL and the headers, and what the caller accepts: refused before any routing."""
        if len(request.path) + len(request.query) > self._url_bytes_max:
            raise Problem("URI_TOO_LONG", f"A URL may have {self._url_bytes_max} bytes.")
        headers = request.headers
        given = request.scope["headers"]
        if len(given) > HEADERS_MAX:
            raise Problem("HEADERS_TOO_LARGE", f"A request may have {HEADERS_MAX} headers.")
        if len(given) != len(headers):
            names = [name for name, _ in given]
            twice = next((name for name in _SINGLE if names.count(name) > 1), None)
            if twice is not None:
                raise Problem("MALFORMED_REQUEST", f"The header {twice.decode()} is there twice.", headers=CLOSE)
            if b"cookie" in headers:  # HTTP/2 may send each cookie by itself (RFC 9113, 8.2.3)
                headers[b"cookie"] = b"; ".join(value for name, value in given if name == b"cookie")
        if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise Problem("MALFORMED_REQUEST", "Transfer-Encoding may only be chunked.", headers=CLOSE)
        accept = headers.get(b"accept")
        if accept is not None and request.path.startswith(self._bases):
            lowered = accept.lower()
            known = (*_JSON_MEDIA, b"text/csv") if request.path.endswith(b"/export") else _JSON_MEDIA
            if not any(media in lowered for media in known):
                raise Problem("NOT_ACCEPTABLE")

    async def _serve_custom(self, request: Request, send: Send) -> Response:
        """A custom endpoint answers; the frame's headers join its own."""
        fallback = self._fallback
        assert fallback is not None, "the router leaves requests only to custom endpoints that exist"
        request.check_body()
        request.scope[CONTEXT_KEY] = request.context
        seen = Response(500, b"", [])

        too_large = False

        async def watch(message: MutableMapping[str, Any]) -> None:
            nonlocal too_large
            too_large = too_large or _is_too_large(message, self._config.result_bytes_max)
            if too_large:
                return
            if message["type"] == "http.response.start":
                request.sent = True
                seen.status = message["status"]
                message["headers"] = self._outgoing.joined(message.get("headers", []), request)
            await send(message)

        try:
            await in_time(fallback, request, watch)
        except Exception as error:
            if not request.sent:
                raise
            return self._failure(error, request)
        finally:
            request.let_go()
        if too_large:
            raise Problem("RESULT_TOO_LARGE", "The answer would be larger than this server sends.")
        return seen

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._fallback is not None:
            await self._fallback(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _refuse(self, problem: Problem, request: Request) -> Response:
        """The response of a refusal; one that came before the rate limit counts, too."""
        default = self._quotas.default
        if request.quota is None and default is not None:
            found = default.hit(request.context.principal.counted or address_of(request.context.ip))
            verdict: Verdict = found if isinstance(found, tuple) else await found
            request.quota = default.headers(verdict)
            if verdict[0] < 0:
                problem = default.refusal(verdict)
        return self.problem(problem, request)

    def problem(self, problem: Problem, request: Request) -> Response:
        """The response of a problem."""
        path = request.path.decode("ascii", "replace")[:512]
        body = problem_body(
            problem, instance=path, request_id=request.context.request_id, success_flag=self._success_flag
        )
        headers = [PROBLEM_TYPE, (b"cache-control", b"no-store")]
        headers += [(name.encode(), value.encode()) for name, value in problem.headers]
        return Response(problem.status, body, headers)

    def _failure(self, error: Exception, request: Request) -> Response:
        """An error nobody planned for: the log has the cause, the caller its request id."""
        cause = "".join(traceback.format_exception(error))
        error.__traceback__ = None  # whoever keeps the error keeps nothing of the server with it
        self.log.event("error", "failure", request_id=request.context.request_id, error=repr(error), cause=cause)
        return self.problem(Problem("INTERNAL"), request)

    def schedule_flush(self) -> None:
        """Write the log's waiting lines soon; called when the first of them arrives."""
        asyncio.get_running_loop().call_later(FLUSH_S, self.log.flush)


async def _stream(response: Streamed, send: Send) -> int:
    """Send a body in parts; returns its size. What fails in the middle ends the connection, so that it is noticed."""
    size, part = 0, response.body
    async for following in response.rest:
        size += len(part)
        await send({"type": "http.response.body", "body": part, "more_body": True})
        part = following
    await send({"type": "http.response.body", "body": part})
    return size + len(part)


def _is_too_large(message: MutableMapping[str, Any], bytes_max: int) -> bool:
    """Whether a JSON answer begins that is larger than answers may be; files and streams may be."""
    if message["type"] != "http.response.start":
        return False
    headers = {bytes(name).lower(): bytes(value) for name, value in message.get("headers", ())}
    size = headers.get(b"content-length", b"")
    json = headers.get(b"content-type", b"").startswith(b"application/json")
    return json and size.isdigit() and int(size) > bytes_max
