"""Structured logs: an event name plus fields, ids always, message bodies and secrets never."""

from __future__ import annotations

import logging
import sys

import structlog


def configure(*, level: str = "INFO", human: bool | None = None) -> None:
    """Sets up logs for this process: lines for people on a terminal, JSON elsewhere, to stderr."""
    on_terminal = sys.stderr.isatty() if human is None else human
    renderer = structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
