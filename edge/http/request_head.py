"""Reads the head of an ordinary upgrade request at a fraction of what a general HTTP parser costs (hop 1).

Pure, and only for what every client sends: one complete HTTP/1.1 GET, printable ASCII, no header twice, no body. For anything
else, valid or not, the answer is None, and Tornado reads the request; so this decides about nothing, it only knows the plain case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_HEADERS = 40
_END = "\r\n\r\n"
_BODY = ("content-length", "transfer-encoding", "expect")


class PlainHeaders(Mapping[str, str]):
    """Headers by name, whatever its case."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header."""
        return self._values.get(name.lower(), default)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A plain GET: what stands before and behind the question mark, and its headers."""

    path: str
    query: str
    headers: PlainHeaders


def read_head(data: bytes) -> RequestHead | None:
    """Reads a head that fills `data` exactly; None: it is not plain."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return None
    if not text.endswith(_END):
        return None
    first, *lines = text[: -len(_END)].split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[0] != "GET" or words[2] != "HTTP/1.1" or not first.isprintable() or len(lines) > MAX_HEADERS:
        return None
    values: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name in values or not name.replace("-", "").isalnum() or not value.isprintable():
            return None
        values[name] = value.strip(" ")
    if "host" not in values or any(name in values for name in _BODY):
        return None
    path, _, query = words[1].partition("?")
    return RequestHead(path, query, PlainHeaders(values))
