/** The menu of one message: copy, recall, delete for me; by mouse, long press or keyboard. */

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { Role, type Entry } from "../sdk";
import { useTexts } from "./hooks";
import { CopyIcon, RecallIcon, TrashIcon } from "./icons";

export interface MenuPlace {
  readonly entry: Entry;
  readonly x: number;
  readonly y: number;
}

interface MenuProps {
  readonly place: MenuPlace;
  readonly role: Role;
  readonly onCopy: (entry: Entry) => void;
  readonly onRecall: (entry: Entry) => void;
  readonly onDelete: (entry: Entry) => void;
  readonly onClose: () => void;
}

const EDGE_PX = 8;

export function MessageMenu({ place, role, onCopy, onRecall, onDelete, onClose }: MenuProps) {
  const texts = useTexts();
  const menu = useRef<HTMLDivElement>(null);
  const { entry, x, y } = place;

  useLayoutEffect(() => {
    const element = menu.current;
    if (element === null) return;
    const { width, height } = element.getBoundingClientRect();
    const left = entry.mine ? x - width : x;
    element.style.left = `${Math.max(EDGE_PX, Math.min(left, innerWidth - width - EDGE_PX))}px`;
    element.style.top = `${Math.max(EDGE_PX, Math.min(y, innerHeight - height - EDGE_PX))}px`;
  }, [place]);

  useEffect(() => {
    const before = document.activeElement;
    items(menu.current)[0]?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);

  const onKeyDown = (event: KeyboardEvent) => {
    const all = items(menu.current);
    const at = all.indexOf(document.activeElement as HTMLElement);
    if (event.key === "Escape" || event.key === "Tab") onClose();
    else if (event.key === "ArrowDown") all[(at + 1) % all.length]?.focus();
    else if (event.key === "ArrowUp") all[(at - 1 + all.length) % all.length]?.focus();
    else if (event.key === "Home") all[0]?.focus();
    else if (event.key === "End") all.at(-1)?.focus();
    else return;
    event.preventDefault();
  };
  const choose = (act: (entry: Entry) => void) => () => {
    onClose();
    act(entry);
  };
  const mayRecall = entry.mine || role === Role.OWNER || role === Role.ADMINISTRATOR;
  return (
    <div class="menu-cover" onPointerDown={(event) => event.target === event.currentTarget && onClose()} onContextMenu={preventDefault}>
      <div class="menu" role="menu" ref={menu} aria-label={texts.actions} onKeyDown={onKeyDown}>
        {entry.content.kind === "text" && (
          <button type="button" role="menuitem" data-testid="copy" onClick={choose(onCopy)}>
            <CopyIcon />
            {texts.copy}
          </button>
        )}
        {mayRecall && (
          <button type="button" role="menuitem" data-testid="recall" onClick={choose(onRecall)}>
            <RecallIcon />
            {texts.recall}
          </button>
        )}
        <button type="button" role="menuitem" class="menu-danger" data-testid="delete-for-me" onClick={choose(onDelete)}>
          <TrashIcon />
          {texts.deleteForMe}
        </button>
      </div>
    </div>
  );
}

function items(menu: HTMLElement | null): HTMLElement[] {
  return menu === null ? [] : [...menu.querySelectorAll<HTMLElement>('[role="menuitem"]')];
}

function preventDefault(event: Event): void {
  event.preventDefault();
}
