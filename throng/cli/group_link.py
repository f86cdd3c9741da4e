"""A channel to the group service that runs on a data folder, or to one that is started for the moment."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import grpc
from prometheus_client import CollectorRegistry

from throng.cli.data_folder import DataFolder
from throng.cli.dialling import dialled
from throng.cli.refusal import Refusal
from throng.runtime import logs
from throng.runtime.rpc_security import RpcSecurity
from throng.runtime.settings import load


@contextlib.contextmanager
def group_channel(
    data_dir: pathlib.Path, address: str | None, read_security: Callable[[], RpcSecurity] = RpcSecurity
) -> Iterator[grpc.Channel]:
    """Gives a channel to the group service at `address`, else to the one on `data_dir`, started for the moment if need be.

    `read_security` says how a service that runs is spoken to.

    Raises:
        Refusal: there is no such folder. ThrongError: whatever the calls inside raise.
    """
    folder = DataFolder(data_dir)
    running = folder.read_running() if address is None else None
    if address is not None or running is not None:
        with dialled("group service", address or (running.group if running else ""), read_security()) as channel:
            yield channel
        return
    if not folder.path.is_dir():
        raise Refusal(f"There is no data folder {folder.path}; start `throng up` once, or name the folder with --data-dir.")
    with _for_the_moment(folder) as channel:
        yield channel


@contextlib.contextmanager
def _for_the_moment(folder: DataFolder) -> Iterator[grpc.Channel]:
    from group_svc.app import GroupApp
    from group_svc.settings import GroupServiceSettings

    logs.configure(level="ERROR")  # no routers run here, and that is no news
    folder.lock()
    app = None
    try:
        flags = {"data_dir": str(folder.path), "host": "127.0.0.1", "port": 0, "redis_url": "embedded://throng"}
        app = GroupApp(load(GroupServiceSettings, flags=flags, environment={}), registry=CollectorRegistry())
        app.start()
        with dialled("group service", app.grpc_address) as channel:
            yield channel
    finally:
        if app is not None:
            app.stop()
        folder.unlock()
