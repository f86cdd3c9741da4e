"""`throng topics`: makes the topic of submitted messages and that of dead letters where they are absent."""

from __future__ import annotations

from typing import Any

import click

from throng.cli import serve
from throng.cli.refusal import refusals
from throng.runtime import logs
from throng.runtime.settings import load


@click.command()
@serve.with_settings("group", only="kafka_")
def topics(*, values: dict[str, Any], config: Any, tied: bool) -> None:
    """Make the topics in Kafka where they are absent. Safe to repeat; a topic that is there is never changed. Group services and
    edges do the same when they start, where they may.
    """
    from throng.adapters.kafka_topic import ensure_topics

    logs.configure()
    with refusals():
        settings = load(serve.SERVICES["group"].settings(), flags=values, file=config)
        ensure_topics(settings.kafka_access(), settings.kafka_topic_settings())  # type: ignore[attr-defined]
        click.echo(f"{settings.kafka_topic}: there")  # type: ignore[attr-defined]
