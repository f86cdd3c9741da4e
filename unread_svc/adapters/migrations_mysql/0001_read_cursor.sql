-- works-with: 1
CREATE TABLE read_cursor (
    user_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    group_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    read_seq BIGINT NOT NULL,
    PRIMARY KEY (user_id, group_id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
