"""Every number that bounds something for clients and internal programs; docs/protocol.md lists them."""

from __future__ import annotations

MAX_TEXT_CHARACTERS = 4_000
MAX_CUSTOM_BYTES = 8_192
MAX_URL_CHARACTERS = 2_048
MAX_ALT_CHARACTERS = 500
MAX_MENTIONS = 50
MAX_BODY_BYTES = 20_480
"""Serialized content, mentions and reply together."""

MAX_NAME_CHARACTERS = 100
MAX_ANNOUNCEMENT_CHARACTERS = 2_000

PAGE_DEFAULT = 50
PAGE_MAX = 200
MEMBERS_PAGE_DEFAULT = 100
MEMBERS_PAGE_MAX = 1_000
GROUPS_PAGE_DEFAULT = 100
GROUPS_PAGE_MAX = 500
CHANGES_MAX = 1_000
"""Members per AddMembers or RemoveMembers, records per Append, entries per BatchEnter, ids per GetHeads."""

DELETED_MAX = 1_000
UNREAD_MAX = 99
UNREAD_WINDOW = 100
RECENT_MESSAGES = 1_000
"""Newest messages of a group that are kept in Redis."""

MAX_SEND_INTERVAL_MS = 3_600_000
MAX_BUDGET_PER_SECOND = 1_000_000
HIGH_RESERVE_PERCENT = 25
"""Part of a group's budget that messages of the HIGH lane have on top of it, so that a storm of others does not shut them out."""

MAX_BLOCK_MESSAGES = 100
MAX_BLOCK_INTERVAL_MS = 10_000
