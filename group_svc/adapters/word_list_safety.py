"""Adapter of `SafetyCheck`: a list of words, all looked for at once (Aho-Corasick) (hop 4)."""

from __future__ import annotations

import pathlib
import unicodedata
from collections.abc import Iterable

import ahocorasick_rs

from throng.domain.errors import ErrorCode, ThrongError

_INVISIBLE = dict.fromkeys([0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])


def normalized(text: str) -> str:
    """NFKC without case and without characters that nobody sees, so that look-alikes are one."""
    return unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).casefold()


class WordListSafety:
    """Blocks a text in which a word of the list stands anywhere. An empty list blocks nothing."""

    def __init__(self, words: Iterable[str]) -> None:
        patterns = sorted({normalized(word.strip()) for word in words} - {""})
        self._automaton = ahocorasick_rs.AhoCorasick(patterns) if patterns else None

    @classmethod
    def from_file(cls, path: pathlib.Path) -> WordListSafety:
        """Reads one word a line, UTF-8.

        Raises:
            ThrongError: INVALID_ARGUMENT when the file cannot be read.
        """
        try:
            return cls(path.read_text(encoding="utf-8-sig").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"the word list {path} cannot be read as UTF-8 text") from error

    def blocks(self, text: str) -> bool:
        """True when a word of the list is in the text."""
        return self._automaton is not None and bool(self._automaton.find_matches_as_indexes(normalized(text)))
