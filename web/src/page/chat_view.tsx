/** Two panes on a wide screen, one at a time on a phone: the list of groups and the open conversation. */

import { useCallback, useEffect, useState } from "preact/hooks";
import type { GroupSession, ThrongClient } from "../sdk";
import { ConnectionBanner } from "./connection_banner";
import { ConversationView } from "./conversation_view";
import { GroupListView } from "./group_list_view";
import { useStore, useTexts } from "./hooks";
import { Mark } from "./icons";
import { ToastArea, useToasts } from "./toasts";

interface ChatProps {
  readonly client: ThrongClient;
  readonly name: string;
  readonly onSignOut: () => void;
}

export function ChatView({ client, name, onSignOut }: ChatProps) {
  const texts = useTexts();
  const [session, setSession] = useState<GroupSession | null>(null);
  const toasts = useToasts();
  useUnreadTitle(client);

  const show = useCallback(
    (groupId: string | null) => {
      if (groupId === null) client.closeOpened();
      setSession(groupId === null ? null : client.open(groupId));
    },
    [client],
  );

  // The phone's back button leads from a conversation to the list. A reload starts at the list: nothing is read unseen.
  useEffect(() => {
    history.replaceState(null, "");
    const onPop = (event: PopStateEvent) => {
      const state = event.state as { readonly group?: string } | null;
      show(state?.group ?? null);
    };
    window.addEventListener("popstate", onPop);
    return () => window.removeEventListener("popstate", onPop);
  }, [show]);

  const open = (groupId: string) => {
    if (session?.groupId === groupId) return;
    if (session === null) history.pushState({ group: groupId }, "");
    else history.replaceState({ group: groupId }, "");
    show(groupId);
  };

  return (
    <div class={`chat ${session === null ? "chat-list" : "chat-open"}`}>
      <ConnectionBanner client={client} />
      <GroupListView client={client} name={name} openGroupId={session?.groupId ?? null} onOpen={open} onSignOut={onSignOut} />
      {session === null ? (
        <section class="pane pane-empty">
          <Mark />
          <h2>{texts.pickGroup}</h2>
          <p>{texts.pickGroupHint}</p>
        </section>
      ) : (
        <ConversationView key={session.groupId} client={client} session={session} toast={toasts.show} onBack={() => history.back()} />
      )}
      <ToastArea toasts={toasts} />
    </div>
  );
}

/** Shows the number of unread messages in the title. */
function useUnreadTitle(client: ThrongClient): void {
  const { rows } = useStore(client.groupList.view);
  const count = rows.reduce((sum, row) => sum + (row.unread?.count ?? 0), 0);
  useEffect(() => {
    document.title = count > 0 ? `(${count > 99 ? "99+" : count}) Throng` : "Throng";
  }, [count]);
  useEffect(
    () => () => {
      document.title = "Throng";
    },
    [],
  );
}
