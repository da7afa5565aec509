/** Where commands write to: a seam, so that tests read what a user would see. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { errnoOf } from "@oarlock/errors";
import { clip, COLOR, PLAIN, type TextStyle, unmarked } from "@oarlock/report";
import { readCliEnvironment } from "./config.ts";

export interface Terminal {
  /** Results, to standard output. A newline is added. */
  readonly print: (text: string) => void;
  /** Progress and errors, to standard error. A newline is added. */
  readonly note: (text: string) => void;
  /** Replaces the live line, as much of it as fits into one; does nothing where nobody watches. */
  readonly live: (text: string) => void;
  /** Aborted once standard output goes nowhere any more: what would print for ever ends. */
  readonly unread: AbortSignal;
  /** Once a command is over: whether all was written. What was not, as on a full disk, is told on the other stream. */
  readonly settled: () => Promise<boolean>;
  /** Whether a person watches standard error. */
  readonly interactive: boolean;
  /** Columns. */
  readonly width: number;
  /** For what is printed, noted and live; a stream that is a file or a pipe gets the text without. */
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
  // Neither a reader that left (`oarlock plan … | head`) nor a full disk ends a thing: what was asked for still happens, unheard.
  const failures = new Map<Stream, Error>();
  for (const stream of [stdout, stderr]) {
    stream.on("error", (reason) => {
      if (errnoOf(reason) !== "EPIPE") failures.set(stream, reason);
    });
  }
  const left = new AbortController();
  stdout.on("error", () => left.abort());
  const tellFailure = (of: Stream, name: string, other: Stream) => {
    const failure = failures.get(of);
    if (failure !== undefined) other.write(`${name} could not be written: ${failure.message}\n`);
  };
  const { noColor } = readCliEnvironment();
  const takesMarks = ({ isTTY }: Stream) => isTTY === true && !noColor;
  const write = (stream: Stream, text: string) => stream.write(takesMarks(stream) ? text : unmarked(text));
  const clear = () => {
    if (live) stderr.write(ERASE_LINE);
    live = false;
  };
  return {
    print(text) {
      clear();
      write(stdout, `${text}\n`);
    },
    note(text) {
      clear();
      write(stderr, `${text}\n`);
    },
    live(text) {
      if (!interactive) return;
      // A line that wraps is not erased whole, and one that fills its row may wrap.
      write(stderr, `${ERASE_LINE}${clip(text, columnsOf(stderr) - 1)}`);
      live = true;
    },
    unread: left.signal,
    async settled() {
      await nextTurn(); // in which a stream tells what became of its last write
      tellFailure(stdout, "standard output", stderr);
      tellFailure(stderr, "standard error", stdout);
      return failures.size === 0;
    },
    interactive,
    width: columnsOf(stdout),
    style: [stdout, stderr].some(takesMarks) ? COLOR : PLAIN,
  };
}

/** A terminal that does not know says 0. */
const columnsOf = ({ columns = 0 }: Stream): number => (columns > 0 ? columns : DEFAULT_WIDTH);

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
    settled: () => Promise.resolve(true),
    interactive: false,
    width: DEFAULT_WIDTH,
    style: PLAIN,
    lines,
  };
}
