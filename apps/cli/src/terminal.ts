/** Where commands write to: a seam, so that tests read what a user would see. */
import { errnoOf } from "@oarlock/errors";
import { clip, COLOR, PLAIN, type TextStyle } from "@oarlock/report";
import { readCliEnvironment } from "./config.ts";

export interface Terminal {
  /** Results, to standard output. A newline is added. */
  readonly print: (text: string) => void;
  /** Progress and errors, to standard error. A newline is added. */
  readonly note: (text: string) => void;
  /** Replaces the live line, as much of it as fits into one; does nothing where nobody watches. */
  readonly live: (text: string) => void;
  /** Aborted once nobody reads standard output any more: what would print for ever ends. */
  readonly unread: AbortSignal;
  /** Whether a person watches standard error. */
  readonly interactive: boolean;
  /** Columns. */
  readonly width: number;
  readonly style: TextStyle;
}

const DEFAULT_WIDTH = 100;
const ERASE_LINE = "\r\u001b[2K";

type Stream = NodeJS.WritableStream & {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
};

export interface Streams {
  readonly stdout: Stream;
  readonly stderr: Stream;
}

/** The process's own terminal. */
export function processTerminal({ stdout, stderr }: Streams = process): Terminal {
  const interactive = stderr.isTTY === true;
  let live = false;
  // A reader that left (`oarlock plan … | head`) ends nothing: what was asked for still happens, only unheard.
  for (const stream of [stdout, stderr]) stream.on("error", ignoreAbsentReader);
  const left = new AbortController();
  stdout.on("error", () => left.abort());
  const clear = () => {
    if (live) stderr.write(ERASE_LINE);
    live = false;
  };
  return {
    print(text) {
      clear();
      stdout.write(`${text}\n`);
    },
    note(text) {
      clear();
      stderr.write(`${text}\n`);
    },
    live(text) {
      if (!interactive) return;
      // A line that wraps is not erased whole, and one that fills its row may wrap.
      stderr.write(`${ERASE_LINE}${clip(text, columnsOf(stderr) - 1)}`);
      live = true;
    },
    unread: left.signal,
    interactive,
    width: columnsOf(stdout),
    style: stdout.isTTY === true && !readCliEnvironment().noColor ? COLOR : PLAIN,
  };
}

/** A terminal that does not know says 0. */
const columnsOf = ({ columns = 0 }: Stream): number => (columns > 0 ? columns : DEFAULT_WIDTH);

function ignoreAbsentReader(reason: Error): void {
  if (errnoOf(reason) !== "EPIPE") throw reason;
}

/** A terminal that remembers, for tests. */
export function recordingTerminal(): Terminal & { readonly lines: string[] } {
  const lines: string[] = [];
  const push = (text: string) => {
    lines.push(text);
  };
  return {
    print: push,
    note: push,
    live() {},
    unread: new AbortController().signal,
    interactive: false,
    width: DEFAULT_WIDTH,
    style: PLAIN,
    lines,
  };
}
