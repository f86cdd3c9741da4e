-- Rises with every removal and every change of a role or a mute, so that an edge that missed one of them sees it (I9).
ALTER TABLE chat_group ADD COLUMN members_version INTEGER NOT NULL DEFAULT 0;
