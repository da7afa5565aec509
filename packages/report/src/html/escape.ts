/** Text into HTML: the only door through which anything that a model or a user wrote enters the page. */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
// eslint-disable-next-line no-control-regex
const INVISIBLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Safe as element content and inside quoted attributes; invisible and direction characters are shown. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll(
      INVISIBLE,
      (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
    )
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}
