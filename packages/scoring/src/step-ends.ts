/**
 * Where the steps of a completion end, in tokens: with each token that completes the text that ends a step, and with the last
 * token. Text is decoded token by token in a window of a few, since a character may be made of several tokens and a space may
 * belong to the token before it; so the work grows with the completion's length alone. Pure.
 */

export interface StepOptions {
  readonly decode: (tokens: readonly number[]) => string;
  /** What a step ends with, not empty. */
  readonly end: string;
}

/** What an incomplete character decodes to. */
const INCOMPLETE = "\uFFFD";
/** Tokens without a character of their own after which no more are waited for. */
const MOST_WAITED = 16;

/** Indices among the completion's tokens, ascending. */
export function stepEnds(completion: readonly number[], { decode, end }: StepOptions): number[] {
  const ends: number[] = [];
  /** Of the step under way, as much as may begin what ends it. */
  let open = "";
  /** Tokens whose text is known, and where the window before them begins. */
  let [known, from] = [0, 0];
  for (const index of completion.keys()) {
    const before = decode(completion.slice(from, known));
    const text = decode(completion.slice(from, index + 1));
    const isWhole = text.length > before.length && !text.endsWith(INCOMPLETE);
    if (!isWhole && index + 1 - known < MOST_WAITED) continue;
    [from, known] = [known, index + 1];
    const parts = (open + text.slice(before.length)).split(end);
    if (parts.length > 1) ends.push(index);
    const rest = parts.at(-1) ?? "";
    open = rest.slice(Math.max(0, rest.length - end.length + 1));
  }
  const last = completion.length - 1;
  if (last >= 0 && ends.at(-1) !== last) ends.push(last);
  return ends;
}
