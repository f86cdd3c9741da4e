-- works-with: 1
-- Identifiers are ascii_bin: compared byte by byte, one byte a character in keys. owner_id: one owner at most, found without
-- reading members, and changed under the lock of this row.
CREATE TABLE chat_group (
    group_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name VARCHAR(255) NOT NULL,
    epoch BIGINT NOT NULL,
    head_seq BIGINT NOT NULL,
    member_count BIGINT NOT NULL,
    members_version BIGINT NOT NULL DEFAULT 0,
    owner_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    settings TEXT NOT NULL,
    announcement MEDIUMTEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (group_id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE group_member (
    group_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    role TINYINT NOT NULL,
    joined_seq BIGINT NOT NULL,
    muted_until_ms BIGINT NOT NULL,
    display_name VARCHAR(255) NOT NULL,
    PRIMARY KEY (group_id, user_id),
    UNIQUE KEY group_member_by_user (user_id, group_id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- message_by_client_msg_id is the one place where "sent twice" is decided (I2). It holds the primary key too, so that a look-up
-- reads no message.
CREATE TABLE message (
    group_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    seq BIGINT NOT NULL,
    sender_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sender_name VARCHAR(255) NOT NULL,
    client_msg_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kind TINYINT NOT NULL,
    lane TINYINT NOT NULL,
    body MEDIUMBLOB NOT NULL,
    sent_at_ms BIGINT NOT NULL,
    recalled_by_seq BIGINT NOT NULL,
    PRIMARY KEY (group_id, seq),
    UNIQUE KEY message_by_client_msg_id (sender_id, client_msg_id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE message_deleted_for_user (
    user_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    group_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (user_id, group_id, seq)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
