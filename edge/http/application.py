"""The addresses of an edge and their handlers."""

from __future__ import annotations

import tornado.web

from edge.http.acceptor import CountingServer
from edge.http.api import AssignHandler, ConfigHandler, LoginHandler
from edge.http.json_handler import NotFoundHandler
from edge.http.operations import HealthHandler, MetricsHandler, ReadyHandler
from edge.http.pages import PageHandler
from edge.http.services import HttpServices
from edge.http.upgrade import UpgradeHandler

MAX_BODY_BYTES = 16_384
MAX_HEADER_BYTES = 16_384
IDLE_SECONDS = 75.0


def make_application(services: HttpServices, *, metrics: bool = True) -> tornado.web.Application:
    """Puts handlers to addresses; without `metrics` there is no /metrics."""
    taken = {"services": services}
    metrics_handler = MetricsHandler if metrics else NotFoundHandler
    return tornado.web.Application(
        [
            (r"/ws", UpgradeHandler, taken),
            (r"/v1/assign", AssignHandler, taken),
            (r"/v1/config", ConfigHandler, taken),
            (r"/v1/login", LoginHandler, taken),
            (r"/healthz", HealthHandler, taken),
            (r"/readyz", ReadyHandler, taken),
            (r"/metrics", metrics_handler, taken),
            (r"/v1/.*", NotFoundHandler, taken),
            (r"/(.*)", PageHandler, taken),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=taken,
        log_function=lambda _handler: None,
    )


def make_server(services: HttpServices, *, metrics: bool = True) -> CountingServer:
    """Makes the clients' HTTP server with its limits."""
    return _server(make_application(services, metrics=metrics))


def make_operations_server(services: HttpServices) -> CountingServer:
    """Makes the operators' HTTP server, at which nobody but this process answers."""
    taken = {"services": services}
    handlers = [(r"/healthz", HealthHandler, taken), (r"/readyz", ReadyHandler, taken), (r"/metrics", MetricsHandler, taken)]
    return _server(
        tornado.web.Application(
            handlers,
            default_handler_class=NotFoundHandler,
            default_handler_args=taken,
            log_function=lambda _handler: None,
        )
    )


def _server(application: tornado.web.Application) -> CountingServer:
    """`xheaders` stays off, for nothing here trusts a client's address."""
    return CountingServer(
        application,
        max_body_size=MAX_BODY_BYTES,
        max_header_size=MAX_HEADER_BYTES,
        idle_connection_timeout=IDLE_SECONDS,
        body_timeout=10.0,
    )
