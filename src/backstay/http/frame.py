"""The frame: one ASGI callable that wraps every request, generated or custom.

In: request id, size limits, principal. Out: problem details for any failure, the frame's headers, one log
line and the metrics. It is one function on purpose: a stack of middleware would cost more than the query.
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
from .consistency import position_headers, read_after
from .custom import CONTEXT_KEY
from .messages import PROBLEM_TYPE, Header, Receive, Request, Response, Scope, Send

Handler = Callable[[Request], "Response | Awaitable[Response]"]
#: Whose request it is, for one that has a credential.
Authenticate = Callable[[Request], "Principal | Awaitable[Principal]"]
#: `(handler, series of its route)` for a request; `None` leaves it to the custom endpoints.
Route = Callable[[Request], "tuple[Handler, Series] | None"]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}\Z")
NO_SNIFF = (b"x-content-type-options", b"nosniff")
#: What clients mostly send in Accept; anything else is looked at.
_ACCEPTED = frozenset({None, b"*/*", b"application/json"})
_JSON_MEDIA = (b"json", b"*/*", b"application/*")
FLUSH_S = 0.2
#: What the log says of a request whose client went away before an answer.
_DISCONNECTED = Response(499, b"", [])


class Frame:
    """See the module.

    Args:
        route: the generated endpoint of a request, if it is one.
        other: the endpoint of any other request.
        fallback: the ASGI app of the custom endpoints, if there is one.
        cookies: whether a cookie, or an API key in a header of its own, may be a credential.
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
        fallback: Application | None = None,
        success_flag: bool = False,
        cookies: bool = False,
    ) -> None:
        self._cookies = cookies
        self.observations = observations
        self.log = log
        self._route = route
        self._other_route = other
        self._authenticate = authenticate
        self._fallback = fallback
        self._custom = observations.request("*", "custom")
        self._config = config
        self._timeout_s = config.request_timeout_s
        self._url_bytes_max = config.url_bytes_max
        self._success_flag = success_flag
        self._lines = log.enabled("info")
        self._replicated = bool(config.replicas)
        self._unrouted = observations.request("*", "unmatched")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; other protocols are for the custom endpoints."""
        if scope["type"] != "http":
            return await self._other(scope, receive, send)
        started = time.monotonic()
        observations = self.observations
        observations.in_flight += 1
        context = Context("", ANONYMOUS, started + self._timeout_s)
        request = Request(scope, receive, context, self._config.body_bytes_max)
        given = request.headers.get(b"x-request-id")
        if given is None or not _REQUEST_ID.match(given):
            context.request_id = str(uuid7())
        else:
            context.request_id = given.decode("ascii")
        series = self._unrouted
        response: Response = _DISCONNECTED
        seconds: float | None = None
        try:
            try:
                headers = request.headers
                if (
                    len(request.path) + len(request.query) > self._url_bytes_max
                    or headers.get(b"accept") not in _ACCEPTED
                ):
                    self._admit(request)
                if self._replicated:
                    context.read_after = read_after(headers)
                if b"authorization" in headers or (
                    self._cookies and (b"cookie" in headers or b"x-api-key" in headers)
                ):
                    principal = self._authenticate(request)
                    context.principal = principal if isinstance(principal, Principal) else await principal
                found = self._route(request) or self._other_route(request)
                if found is None:
                    series = self._custom
                    response = await self._serve_custom(request, receive, send, started)
                    return None
                handler, series = found
                answer = handler(request)
                if isinstance(answer, Response):
                    response = answer
                else:
                    if request.method == "GET":  # it has no body that somebody might still read
                        context.receive = receive
                    response = await answer
            except Problem as problem:
                response = self.problem(problem, request)
            except ClientGoneError:
                return None
            except Exception as error:
                response = self._failure(error, request)
            out = response.headers
            seconds = time.monotonic() - started
            out += framed(response, context, seconds)
            if context.wrote:
                out += position_headers(context.wrote)
            await send({"type": "http.response.start", "status": response.status, "headers": out})
            body = response.body if request.method != "HEAD" else b""
            await send({"type": "http.response.body", "body": body})
        finally:
            observations.in_flight -= 1
            if seconds is None:
                seconds = time.monotonic() - started
            series.add(seconds, response.status)
            if self._lines:
                size = len(response.body)
                self.log.request(context, request.method, request.path, response.status, seconds, size)

    def _admit(self, request: Request) -> None:
        """Limits of the URL and of what the caller accepts: refused before any routing."""
        if len(request.path) + len(request.query) > self._url_bytes_max:
            raise Problem("URI_TOO_LONG", f"A URL may have {self._url_bytes_max} bytes.")
        headers = request.headers
        accept = headers.get(b"accept")
        if accept is not None and request.path.startswith(self._config.base_path.encode()):
            lowered = accept.lower()
            if not any(media in lowered for media in _JSON_MEDIA):
                raise Problem("NOT_ACCEPTABLE")

    async def _serve_custom(self, request: Request, receive: Receive, send: Send, started: float) -> Response:
        """A custom endpoint answers; the frame's headers join its own."""
        fallback = self._fallback
        assert fallback is not None, "the router leaves requests only to custom endpoints that exist"
        context = request.context
        request.scope[CONTEXT_KEY] = context
        seen = Response(500, b"", [])
        sent = False

        async def watch(message: MutableMapping[str, Any]) -> None:
            nonlocal sent
            if message["type"] == "http.response.start":
                sent = True
                seen.status = message["status"]
                spent = (time.monotonic() - started) * 1000
                timing = f'app;dur={spent:.3f}, statements;desc="{context.statements}"'
                extra = [(b"x-request-id", context.request_id.encode()), (b"server-timing", timing.encode())]
                if context.wrote:
                    extra += position_headers(context.wrote)
                message["headers"] = [*message.get("headers", []), *extra, NO_SNIFF]
            await send(message)

        try:
            await fallback(request.scope, receive, watch)
        except Exception as error:
            failure = self._failure(error, request)
            if not sent:
                headers = [*failure.headers, *framed(failure, context, time.monotonic() - started)]
                await send({"type": "http.response.start", "status": failure.status, "headers": headers})
                await send({"type": "http.response.body", "body": failure.body})
            return failure
        return seen

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._fallback is not None:
            await self._fallback(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def problem(self, problem: Problem, request: Request) -> Response:
        """The response of a refusal."""
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
        self.log.event("error", "failure", request_id=request.context.request_id, error=repr(error), cause=cause)
        return self.problem(Problem("INTERNAL"), request)

    def schedule_flush(self) -> None:
        """Write the log's waiting lines soon; called when the first of them arrives."""
        asyncio.get_running_loop().call_later(FLUSH_S, self.log.flush)


def framed(response: Response, context: Context, seconds: float) -> tuple[Header, ...]:
    """The headers that every response has."""
    database_ms = context.database_s * 1000
    spent = (database_ms, seconds * 1000 - database_ms, context.statements)
    return (
        (b"content-length", b"%d" % len(response.body)),
        (b"x-request-id", context.request_id.encode()),
        (b"server-timing", b'db;dur=%.3f, app;dur=%.3f, statements;desc="%d"' % spent),
        NO_SNIFF,
    )
