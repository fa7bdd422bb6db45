"""Custom endpoints: a FastAPI app behind the generated routes, with the same errors and the same Context.

FastAPI is imported here and nowhere else, and only by programs that declare an endpoint of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

from ..context import Context
from ..errors import FieldError, Problem, ValidationError, problem_body
from .messages import Scope

CONTEXT_KEY = "backstay.context"
Endpoint = Callable[..., Any]
_CODES = {401: "UNAUTHENTICATED", 403: "FORBIDDEN", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 409: "CONFLICT"}


class CustomEndpoints:
    """Collects endpoints and serves them through FastAPI."""

    def __init__(self, title: str) -> None:
        from fastapi import FastAPI
        from fastapi.exceptions import RequestValidationError
        from starlette.exceptions import HTTPException

        plain: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None}
        # An operation is called as its function is: clients are generated with these names.
        self.app = FastAPI(title=title, generate_unique_id_function=_name_of, **plain)
        #: (method, path) of each, in the order of their declaration.
        self.paths: list[tuple[str, str]] = []
        #: The rate of those that have one of their own, by path.
        self.limits: dict[str, str] = {}
        self._patterns: list[tuple[str, Any, str]] = []
        self.app.add_exception_handler(Problem, _answer)
        self.app.add_exception_handler(RequestValidationError, _answer_invalid)
        self.app.add_exception_handler(HTTPException, self._answer_http)
        self.app.add_exception_handler(Exception, _answer_failure)

    def add(
        self, method: str, path: str, *, limit: str = "", **options: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A decorator that serves a function at a path; a parameter of type `Context` is the request's.

        Args:
            limit: its own rate limit, such as `10/minute`; it holds for all methods of the path.
            options: FastAPI's.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            from starlette.routing import compile_path

            _inject_context(function)
            self.app.add_api_route(path, function, methods=[method], **options)
            self.paths.append((method, path))
            self._patterns.append((method, compile_path(path)[0], path))
            if limit:
                self.limits[path] = limit
            return function

        return register

    def literal_paths(self) -> frozenset[tuple[str, bytes]]:
        """(method, path) of the endpoints without path parameters."""
        return frozenset((method, path.encode()) for method, path in self.paths if "{" not in path)

    def declared(self, method: str, path: str) -> str:
        """The path of the endpoint that answers a request, as it was declared; empty when none does."""
        for known, pattern, template in self._patterns:
            if known == method and pattern.match(path):
                return template
        return ""

    def methods(self, path: str) -> list[str]:
        """The methods that some endpoint answers on a path."""
        return sorted({method for method, pattern, _ in self._patterns if pattern.match(path)})

    def openapi(self, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
        """FastAPI's description of the endpoints.

        Args:
            without: leave out those whose paths begin so.
        """
        if not without:
            return self.app.openapi()
        from fastapi.openapi.utils import get_openapi

        kept = [route for route in self.app.routes if not getattr(route, "path", "").startswith(without)]
        return get_openapi(title=self.app.title, version=self.app.version, routes=kept)

    def __call__(self, scope: Scope, receive: Any, send: Any) -> Any:
        """Serve a request."""
        return self.app(scope, receive, send)

    async def _answer_http(self, request: Any, error: Any) -> Any:
        if isinstance(error.__cause__, Problem):  # of the frame, while FastAPI read the body
            return await _answer(request, error.__cause__)
        headers = dict[str, str](error.headers or {})
        if error.status_code == 405:  # the router tells the methods of the first route alone
            headers["Allow"] = ", ".join(self.methods(request.url.path))
        code = _CODES.get(error.status_code, "VALIDATION_ERROR" if error.status_code < 500 else "INTERNAL")
        problem = Problem(code, str(error.detail), headers=tuple(headers.items()))
        problem.status = error.status_code
        return await _answer(request, problem)


class Endpoints:
    """What declares custom endpoints: an app's decorators."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._custom: CustomEndpoints | None = None

    def custom_endpoints(self) -> CustomEndpoints:
        """Those declared so far; made by the first."""
        if self._custom is None:
            self._custom = CustomEndpoints(self._title)
        return self._custom

    def route(self, method: str, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom endpoint: an ordinary FastAPI route.

        Args:
            options: FastAPI's, and `limit`, a rate of its own such as `10/minute`.
        """
        return self.custom_endpoints().add(method, path, **options)

    def get(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `GET` endpoint."""
        return self.route("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `POST` endpoint."""
        return self.route("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `PUT` endpoint."""
        return self.route("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `PATCH` endpoint."""
        return self.route("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `DELETE` endpoint."""
        return self.route("DELETE", path, **options)


def _name_of(route: Any) -> str:
    return str(route.name)


def _inject_context(function: Callable[..., Any]) -> None:
    """Give parameters of type Context the request's, by FastAPI's own means."""
    from fastapi import Depends, Request

    def current(request: Any) -> Context:
        return request.scope[CONTEXT_KEY]

    # FastAPI reads annotations at run time, where this module's own are text.
    current.__annotations__ = {"request": Request, "return": Context}

    signature = inspect.signature(function)
    parameters = [
        p.replace(annotation=Annotated[Context, Depends(current)])
        if p.annotation is Context or p.annotation == "Context"
        else p
        for p in signature.parameters.values()
    ]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]


async def _answer(request: Any, problem: Any) -> Any:
    from starlette.responses import Response

    context: Context = request.scope[CONTEXT_KEY]
    body = problem_body(problem, instance=request.url.path, request_id=context.request_id)
    headers = dict(problem.headers)
    return Response(body, problem.status, headers, media_type="application/problem+json")


async def _answer_invalid(request: Any, error: Any) -> Any:
    errors = [
        FieldError(".".join(str(part) for part in item["loc"][1:]) or "body", item["type"], item["msg"])
        for item in error.errors()
    ]
    return await _answer(request, ValidationError(errors))


async def _answer_failure(request: Any, error: Exception) -> Any:
    """The frame logs the cause; the caller gets the request id."""
    return await _answer(request, Problem("INTERNAL"))
