"""Errors as RFC 9457 problem details, each with a stable `code`. Texts never quote what the client sent."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.ports.registry import RegistryUnavailable


class Problem(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, code: str, title: str, **more: object) -> None:
        super().__init__(code)
        self.status, self.code, self.title, self.more = status, code, title, more


def _response(
    status: int,
    code: str,
    title: str,
    more: dict[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else headers
    body = {"type": "about:blank", "status": status, "code": code, "title": title, **(more or {})}
    return JSONResponse(body, status_code=status, media_type="application/problem+json", headers=headers)


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return _response(error.status, error.code, error.title, error.more)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = [{"where": ".".join(str(part) for part in item["loc"]), "what": item["msg"]} for item in error.errors()]
    return _response(
        422, "invalid_request", "The request does not fit the description at /openapi.json", {"errors": wrong}
    )


_CODES = {404: "not_found", 405: "method_not_allowed"}


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "http_error")
    return _response(error.status_code, code, str(error.detail), headers=error.headers)


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    return _response(503, "registry_unavailable", "The gateway's database cannot be used now")


async def _bug(request: Request, error: Exception) -> JSONResponse:
    """The server logs the exception; the client learns nothing of it."""
    return _response(500, "internal_error", "The gateway made a mistake")


def install(app: FastAPI) -> None:
    """Answer every error of *app* as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RegistryUnavailable, _unavailable)
    app.add_exception_handler(Exception, _bug)
