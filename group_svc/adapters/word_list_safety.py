"""Adapter of `SafetyCheck`: a list of words, all looked for at once (Aho-Corasick) (hop 4)."""

from __future__ import annotations

import pathlib
import unicodedata
from collections.abc import Callable, Iterable

import ahocorasick_rs

from throng.domain.errors import ErrorCode, ThrongError

MAX_FILE_BYTES = 16 * 1024 * 1024
_INVISIBLE = dict.fromkeys([0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])
_PART_WORDS = 5_000
"""Words in one automaton. The library holds the interpreter while it makes one: 100,000 words in one stop every thread for a third
of a second, 5,000 for some 10 ms. Each part costs a text another 1 or 2 µs."""

_STEP_WORDS = 500


def normalized(text: str) -> str:
    """NFKC without case and without characters that nobody sees, so that look-alikes are one."""
    return unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).casefold()


class WordListSafety:
    """Blocks a text in which a word of the list stands anywhere. An empty list blocks nothing."""

    def __init__(self, words: Iterable[str], *, rest: Callable[[], None] = lambda: None) -> None:
        """Makes the automata; calls `rest` again and again meanwhile, so that other threads get their turn."""
        patterns: dict[str, None] = {}
        for number, word in enumerate(words):
            pattern = normalized(word.strip())
            if pattern:
                patterns[pattern] = None
            if number % _STEP_WORDS == _STEP_WORDS - 1:
                rest()
        self.words = len(patterns)
        self._parts: list[ahocorasick_rs.AhoCorasick] = []
        part: list[str] = []
        for pattern in patterns:
            part.append(pattern)
            if len(part) == _PART_WORDS:
                self._parts.append(ahocorasick_rs.AhoCorasick(part))
                part = []
                rest()
        if part:
            self._parts.append(ahocorasick_rs.AhoCorasick(part))

    @classmethod
    def from_file(cls, path: pathlib.Path, *, rest: Callable[[], None] = lambda: None) -> WordListSafety:
        """Reads one word a line, UTF-8, at most 16 MiB.

        Raises:
            ThrongError: INVALID_ARGUMENT when the file cannot be read.
        """
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"the word list {path} has more than {MAX_FILE_BYTES} bytes")
            return cls(path.read_text(encoding="utf-8-sig").splitlines(), rest=rest)
        except (OSError, UnicodeDecodeError) as error:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"the word list {path} cannot be read as UTF-8 text") from error

    def blocks(self, text: str) -> bool:
        """True when a word of the list is in the text."""
        if not self._parts:
            return False
        text = normalized(text)
        return any(part.find_matches_as_indexes(text) for part in self._parts)
