"""Development login: a name becomes a user and a token. Never enabled in production."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import UserId
from throng.domain.limits import MAX_NAME_CHARACTERS

_SLUG_CHARACTERS = 40
_HASH_CHARACTERS = 8


def clean_name(name: object) -> str:
    """Returns the name as it is shown: NFC, without control characters, white space made single.

    Raises:
        ThrongError: INVALID_ARGUMENT, when nothing is left or it is too long.
    """
    if not isinstance(name, str):
        raise _invalid("name must be a text")
    # Categories Cc, Cf and Cs: control, invisible formatting, lone surrogates.
    visible = "".join(" " if c.isspace() else c for c in name if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    cleaned = unicodedata.normalize("NFC", " ".join(visible.split()))
    if not cleaned:
        raise _invalid("name must not be empty")
    if len(cleaned) > MAX_NAME_CHARACTERS:
        raise _invalid(f"name must have at most {MAX_NAME_CHARACTERS} characters")
    return cleaned


def user_id_for(name: str) -> UserId:
    """Derives the user of a cleaned name: the same name is the same user, also when it is written in Chinese."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_SLUG_CHARACTERS].strip("-")
    digest = hashlib.sha256(name.casefold().encode()).hexdigest()[:_HASH_CHARACTERS]
    return UserId(f"{slug}-{digest}" if slug else f"user-{digest}")


def _invalid(text: str) -> ThrongError:
    return ThrongError(ErrorCode.INVALID_ARGUMENT, text, fields={"field": "name"})
