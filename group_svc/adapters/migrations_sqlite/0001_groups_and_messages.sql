-- TEXT compares byte by byte (BINARY), as identifiers must. WITHOUT ROWID: rows lie in key order, so a page is one range.
CREATE TABLE chat_group (
    group_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    head_seq INTEGER NOT NULL,
    member_count INTEGER NOT NULL,
    settings TEXT NOT NULL,
    announcement TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE group_member (
    group_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role INTEGER NOT NULL,
    joined_seq INTEGER NOT NULL,
    muted_until_ms INTEGER NOT NULL,
    display_name TEXT NOT NULL,
    PRIMARY KEY (group_id, user_id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX group_member_by_user ON group_member (user_id, group_id);

-- One owner at most (role 1), found without reading members.
CREATE UNIQUE INDEX group_member_owner ON group_member (group_id) WHERE role = 1;

CREATE TABLE message (
    group_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sender_id TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    client_msg_id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    body BLOB NOT NULL,
    sent_at_ms INTEGER NOT NULL,
    recalled_by_seq INTEGER NOT NULL,
    PRIMARY KEY (group_id, seq)
) WITHOUT ROWID;

-- The one place where "sent twice" is decided (I2). It covers (group_id, seq), so a look-up reads no message.
CREATE UNIQUE INDEX message_by_client_msg_id ON message (sender_id, client_msg_id);

CREATE TABLE message_deleted_for_user (
    user_id TEXT NOT NULL,
    group_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (user_id, group_id, seq)
) WITHOUT ROWID;
