/** A person or a group as a coloured disc with a letter; the colour follows from the id. */

const COLOURS = 10;

export function Avatar({ id, name, square = false }: { readonly id: string; readonly name: string; readonly square?: boolean }) {
  return (
    <span class={`avatar avatar-${colourOf(id)}${square ? " avatar-group" : ""}`} aria-hidden="true">
      {initialOf(name || id)}
    </span>
  );
}

/** Class number of an id's colour. */
export function colourOf(id: string): number {
  let hash = 7;
  for (let index = 0; index < id.length; index += 1) hash = (hash * 31 + id.charCodeAt(index)) >>> 0;
  return hash % COLOURS;
}

function initialOf(name: string): string {
  const letter = [...name.trim()][0] ?? "?";
  return letter.toLocaleUpperCase();
}
