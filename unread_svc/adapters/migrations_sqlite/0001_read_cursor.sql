CREATE TABLE read_cursor (
    user_id TEXT NOT NULL,
    group_id TEXT NOT NULL,
    read_seq INTEGER NOT NULL,
    PRIMARY KEY (user_id, group_id)
) WITHOUT ROWID;
