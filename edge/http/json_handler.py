"""Base of the handlers: JSON bodies, errors as {code, text}, and headers that keep a browser from guessing."""

from __future__ import annotations

import json
from typing import Any

import structlog
import tornado.web

from edge.http.admission import Refusal, check_origin
from edge.http.services import HttpServices
from throng.domain.errors import ErrorCode, ThrongError

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' https: data:; style-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_STATUS = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.DEADLINE_EXCEEDED: 504,
    ErrorCode.INTERNAL: 500,
}
_CODES = {401: ErrorCode.UNAUTHENTICATED, 403: ErrorCode.PERMISSION_DENIED, 413: ErrorCode.TOO_LARGE, 503: ErrorCode.UNAVAILABLE}
_log = structlog.get_logger("throng.edge.http")


class JsonHandler(tornado.web.RequestHandler):
    """Answers in JSON; whatever goes wrong becomes {code, text} with the matching status."""

    services: HttpServices

    def initialize(self, services: HttpServices) -> None:
        """Takes what the app made."""
        self.services = services

    def set_default_headers(self) -> None:
        """Sets the headers that every answer carries."""
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def allow_origin(self) -> None:
        """Lets pages of allowed origins read the answer.

        Raises:
            Refusal: 403 for any other page.
        """
        check_origin(self.request.headers, self.services.rules.allowed_origins)
        origin = self.request.headers.get("Origin")
        if origin:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Vary", "Origin")

    def write_json(self, value: dict[str, Any], *, status: int = 200) -> None:
        """Answers with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(value, ensure_ascii=False))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answers with {code, text}."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        code = _CODES.get(status_code, ErrorCode.INTERNAL if status_code >= 500 else ErrorCode.INVALID_ARGUMENT)
        text = self._reason
        if isinstance(error, Refusal):
            code, text = error.code, error.text
            status_code = error.status
            for name, value in error.headers.items():
                self.set_header(name, value)
        elif isinstance(error, ThrongError):
            code, text = error.code, error.text
            status_code = _STATUS.get(error.code, 400)
            if error.retry_after_ms:
                self.set_header("Retry-After", str(-(-error.retry_after_ms // 1000)))
        self.write_json({"code": code.name, "text": text}, status=status_code)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Logs defects only: a refusal is the client's matter."""
        if not isinstance(value, Refusal | ThrongError | tornado.web.HTTPError):
            _log.error("http_request_failed", path=self.request.path, exc_info=value)

    def json_body(self) -> dict[str, Any]:
        """The request's body, a JSON object.

        Raises:
            ThrongError: INVALID_ARGUMENT when it is none.
        """
        try:
            body = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the body must be a JSON object")
        return body


class NotFoundHandler(JsonHandler):
    """Whatever no other handler serves."""

    def prepare(self) -> None:
        """Answers 404."""
        self.write_json({"code": ErrorCode.INVALID_ARGUMENT.name, "text": "there is nothing at this address"}, status=404)
