/** The list of groups: name, newest message, time, unread badge; joining another one by its id. */

import { useState } from "preact/hooks";
import type { GroupRow, ThrongClient } from "../sdk";
import { Avatar } from "./avatar";
import { badgeText, previewText, shortTimeText } from "./format";
import { useStore, useTexts } from "./hooks";
import { PlusIcon, SignOutIcon } from "./icons";

interface ListProps {
  readonly client: ThrongClient;
  readonly name: string;
  readonly openGroupId: string | null;
  readonly onOpen: (groupId: string) => void;
  readonly onSignOut: () => void;
}

const GROUP_ID = /^[A-Za-z0-9_.:-]{1,64}$/;
const PLACEHOLDER_ROWS = [0, 1, 2];

export function GroupListView({ client, name, openGroupId, onOpen, onSignOut }: ListProps) {
  const texts = useTexts();
  const { loaded, rows } = useStore(client.groupList.view);
  const [joining, setJoining] = useState(false);
  return (
    <nav class="pane pane-list" aria-label={texts.chats}>
      <header class="bar">
        <h1>{texts.chats}</h1>
        <button
          class="icon-button"
          type="button"
          data-testid="join-group"
          aria-expanded={joining}
          title={texts.joinGroup}
          aria-label={texts.joinGroup}
          onClick={() => setJoining(!joining)}
        >
          <PlusIcon />
        </button>
      </header>
      {joining && (
        <JoinForm
          onJoin={(groupId) => {
            setJoining(false);
            onOpen(groupId);
          }}
          onCancel={() => setJoining(false)}
        />
      )}
      <ul class="groups" data-testid="group-list" aria-busy={!loaded}>
        {rows.map((row) => (
          <GroupItem key={row.groupId} row={row} open={row.groupId === openGroupId} onOpen={onOpen} />
        ))}
        {!loaded && rows.length === 0 && PLACEHOLDER_ROWS.map((row) => <li key={row} class="group-placeholder" aria-hidden="true" />)}
        {loaded && rows.length === 0 && (
          <li class="groups-empty">
            <strong>{texts.noGroups}</strong>
            <span>{texts.noGroupsHint}</span>
          </li>
        )}
      </ul>
      <footer class="me">
        <Avatar id={name} name={name} />
        <span class="me-name">{name}</span>
        <button class="icon-button" type="button" data-testid="sign-out" title={texts.signOut} aria-label={texts.signOut} onClick={onSignOut}>
          <SignOutIcon />
        </button>
      </footer>
    </nav>
  );
}

interface ItemProps {
  readonly row: GroupRow;
  readonly open: boolean;
  readonly onOpen: (groupId: string) => void;
}

function GroupItem({ row, open, onOpen }: ItemProps) {
  const texts = useTexts();
  const badge = badgeText(row.unread);
  const name = row.info?.name || row.groupId;
  return (
    <li>
      <button
        class="group"
        type="button"
        data-testid={`group-item-${row.groupId}`}
        aria-current={open ? "true" : undefined}
        onClick={() => onOpen(row.groupId)}
      >
        <Avatar id={row.groupId} name={name} square />
        <span class="group-name">{name}</span>
        <time class="group-time">{row.last === null ? "" : shortTimeText(row.last.sentAtMs, Date.now(), texts)}</time>
        <span class="group-preview" dir="auto">
          {row.last === null ? texts.members(row.info?.memberCount ?? 0) : previewText(row.last, texts)}
        </span>
        {badge !== "" && (
          <span class="badge" data-testid="unread-badge" aria-label={texts.unread(badge)}>
            {badge}
          </span>
        )}
      </button>
    </li>
  );
}

function JoinForm({ onJoin, onCancel }: { readonly onJoin: (groupId: string) => void; readonly onCancel: () => void }) {
  const texts = useTexts();
  const [groupId, setGroupId] = useState("");
  const valid = GROUP_ID.test(groupId.trim());
  const submit = (event: Event) => {
    event.preventDefault();
    if (valid) onJoin(groupId.trim());
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") onCancel();
  };
  return (
    <form class="join" onSubmit={submit} onKeyDown={onKeyDown}>
      <input
        type="text"
        data-testid="join-group-id"
        aria-label={texts.groupIdLabel}
        placeholder={texts.groupIdLabel}
        autocapitalize="none"
        autocomplete="off"
        spellcheck={false}
        autofocus
        value={groupId}
        onInput={(event) => setGroupId(event.currentTarget.value)}
      />
      <button class="button" type="submit" disabled={!valid}>
        {texts.join}
      </button>
    </form>
  );
}
