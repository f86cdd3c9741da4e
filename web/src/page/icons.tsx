/** Drawings: one line weight, coloured by the text around them. */

import type { ComponentChildren } from "preact";

function Icon({ children, size = 20 }: { readonly children: ComponentChildren; readonly size?: number }) {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="2"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const BackIcon = () => (
  <Icon>
    <path d="M15 5l-7 7 7 7" />
  </Icon>
);
export const SendIcon = () => (
  <Icon>
    <path d="M12 19V5M5.5 11.5L12 5l6.5 6.5" />
  </Icon>
);
export const PlusIcon = () => (
  <Icon>
    <path d="M12 5v14M5 12h14" />
  </Icon>
);
export const SignOutIcon = () => (
  <Icon>
    <path d="M10 4H6a2 2 0 00-2 2v12a2 2 0 002 2h4M15 8l4 4-4 4M19 12H9" />
  </Icon>
);
export const MoreIcon = () => (
  <Icon size={18}>
    <circle cx="5" cy="12" r="1" />
    <circle cx="12" cy="12" r="1" />
    <circle cx="19" cy="12" r="1" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon size={14}>
    <path d="M5 12.5l4.5 4.5L19 7.5" />
  </Icon>
);
export const ClockIcon = () => (
  <Icon size={13}>
    <circle cx="12" cy="12" r="9" />
    <path d="M12 7v5l3 2" />
  </Icon>
);
export const AlertIcon = () => (
  <Icon size={14}>
    <circle cx="12" cy="12" r="9" />
    <path d="M12 7.5v5.5M12 16.4v.1" />
  </Icon>
);
export const DownIcon = () => (
  <Icon size={16}>
    <path d="M12 5v14M6 13l6 6 6-6" />
  </Icon>
);
export const MegaphoneIcon = () => (
  <Icon size={16}>
    <path d="M4 10v4h3l7 4V6L7 10H4zM18 9.5a4 4 0 010 5" />
  </Icon>
);
export const RecallIcon = () => (
  <Icon size={18}>
    <path d="M9 7L4.5 11.5 9 16M5 11.5h9a5 5 0 015 5V18" />
  </Icon>
);
export const TrashIcon = () => (
  <Icon size={18}>
    <path d="M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon size={18}>
    <rect x="9" y="9" width="10" height="10" rx="2" />
    <path d="M15 9V7a2 2 0 00-2-2H7a2 2 0 00-2 2v6a2 2 0 002 2h2" />
  </Icon>
);

/** The mark: people around one place. */
export function Mark() {
  const around = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
  return (
    <svg class="mark" viewBox="0 0 64 64" aria-hidden="true">
      <circle cx="32" cy="32" r="6" />
      {around.map((index) => {
        const angle = (index / 12) * 2 * Math.PI;
        const far = index % 2 === 0;
        const distance = far ? 24 : 16;
        const radius = far ? 3.2 : 4;
        return (
          <circle
            key={index}
            cx={(32 + distance * Math.sin(angle)).toFixed(1)}
            cy={(32 - distance * Math.cos(angle)).toFixed(1)}
            r={radius}
            opacity={far ? 0.55 : 0.85}
          />
        );
      })}
    </svg>
  );
}
