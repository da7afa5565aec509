/** Terminal styles as functions that a caller may leave plain: nothing here knows whether a terminal listens. */

/** How words are marked; `PLAIN` marks nothing. */
export interface TextStyle {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly accent: (text: string) => string;
}

const same = (text: string): string => text;

/** No marks: for files, pipes and NO_COLOR. */
export const PLAIN: TextStyle = { bold: same, dim: same, good: same, bad: same, accent: same };

const ansi =
  (code: number, end: number) =>
  (text: string): string =>
    `\u001b[${code}m${text}\u001b[${end}m`;

/** ANSI colours. */
export const COLOR: TextStyle = {
  bold: ansi(1, 22),
  dim: ansi(2, 22),
  good: ansi(32, 39),
  bad: ansi(31, 39),
  accent: ansi(36, 39),
};

// Control characters other than a newline: what a model writes must not steer the reader's terminal.
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Model-written text made safe for a terminal: control and direction characters become visible. */
export function safeText(text: string): string {
  return text.replaceAll(CONTROL, (character) => {
    if (character === "\t") return "    ";
    if (character === "\r") return "";
    return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
  });
}

// eslint-disable-next-line no-control-regex
const MARK = /\u001b\[\d+m/g;
const MARK_OR_CHARACTER = new RegExp(`${MARK.source}|.`, "gsu");

/** The text without what a style put into it. */
export function unmarked(text: string): string {
  return text.replaceAll(MARK, "");
}

/** The first `width` characters, with an ellipsis where something was cut. Marks have no width, and one that was begun ends. */
export function clip(text: string, width: number): string {
  const last = Math.max(1, width);
  let characters = 0;
  const kept = (text.match(MARK_OR_CHARACTER) ?? []).map((part) => {
    if (part.startsWith("\u001b[")) return part;
    characters++;
    if (characters < last) return part;
    return characters === last ? "…" : "";
  });
  return characters <= width ? text : kept.join("");
}
