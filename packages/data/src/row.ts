/** One example as the rest of Oarlock sees it, whatever file, data set or task it came from. */

/** One turn of a conversation; further fields of the data (tool calls, names) stay on it. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** A plain text, or a conversation that the model's chat template renders. */
export type Prompt = string | readonly ChatMessage[];

/** A step: what it says, and whether it is right, from 0 to 1. */
export interface LabelledText {
  readonly text: string;
  readonly label: number;
}

export interface Row {
  readonly prompt: Prompt;
  /** What SFT trains on: the text (or the assistant's turns) after the prompt. */
  readonly completion?: Prompt;
  /** Text that nobody asked for (TRL: language modelling): all of it is the completion, and `prompt` is empty. */
  readonly isPlainText?: true;
  /** The better and the worse continuation of a preference pair. */
  readonly chosen?: Prompt;
  readonly rejected?: Prompt;
  /** Continuations that were ranked, the best first. */
  readonly ranking?: readonly Prompt[];
  /** The steps of one continuation, in order, each with its label. */
  readonly steps?: readonly LabelledText[];
  /** What verifiers compare with. */
  readonly answer?: string;
  /** The row as its source had it, for reward functions: JSON values only. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Rows in a fixed order, with a fingerprint. */
export interface Dataset {
  /** In metrics and reports: the task, the file's stem, the data set. */
  readonly name: string;
  readonly rows: readonly Row[];
  /** SHA-256 of the content, after `skip` and `limit` (D1). */
  readonly digest: string;
  /** Which parts every row has, e.g. "prompt", "answer", and the columns of the source that are text or a number in each. */
  readonly parts: readonly string[];
  /** Which of both only some rows have, each with the place of the first row that lacks it. */
  readonly partial?: Readonly<Record<string, string>>;
  /** Where a row stands: "line 17 of rows.jsonl". */
  readonly placeOf?: (index: number) => string;
}
