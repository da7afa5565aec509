/** What reaches the streams of a process: a live line that stays one line, marks where they are seen, and word of what could not be written. */
import { Writable } from "node:stream";
import { COLOR } from "@oarlock/report";
import { expect, onTestFinished, test, vi } from "vitest";
import { processTerminal, type Streams } from "./terminal.ts";

/** A stream that remembers what was written to it; one that fails stays open, as those of a process do. */
function stream(traits: { readonly isTTY?: boolean; readonly columns?: number } = {}, errno?: string) {
  const parts: string[] = [];
  const failure =
    errno === undefined ? null : Object.assign(new Error(`${errno}: no write`), { code: errno });
  const writable = new Writable({
    autoDestroy: false,
    write(chunk, _encoding, done) {
      parts.push(String(chunk));
      done(failure);
    },
  });
  return Object.assign(writable, traits, { text: () => parts.join("") });
}

const streams = (): { [S in keyof Streams]: ReturnType<typeof stream> } => ({
  stdout: stream(),
  stderr: stream({ isTTY: true, columns: 10 }),
});

test("the live line is cut to one row of the terminal that it goes to, and what follows replaces it", () => {
  const { stdout, stderr } = streams();
  const terminal = processTerminal({ stdout, stderr });
  terminal.live(COLOR.bold("0123456789"));
  terminal.print("done");
  expect(stderr.text()).toBe(`\r\u001b[2K${COLOR.bold("01234567…")}\r\u001b[2K`);
  expect(stdout.text()).toBe("done\n");
  expect(terminal.width).toBe(100);
});

test("nobody watches a stream that is no terminal: it has no live line", () => {
  const { stdout } = streams();
  const stderr = stream();
  processTerminal({ stdout, stderr }).live("reading");
  expect(stderr.text()).toBe("");
});

test("of a stream that cannot be written word is on the other one, once, and nothing is thrown", async () => {
  const [stdout, stderr] = [stream({}, "ENOSPC"), stream()];
  const terminal = processTerminal({ stdout, stderr });
  terminal.print("one");
  terminal.print("two");
  expect(await terminal.settled()).toBe(false);
  expect(stderr.text()).toBe("standard output could not be written: ENOSPC: no write\n");
  expect(terminal.unread.aborted).toBe(true);

  const reversed = { stdout: stream(), stderr: stream({}, "EIO") };
  const other = processTerminal(reversed);
  other.note("one");
  expect(await other.settled()).toBe(false);
  expect(reversed.stdout.text()).toBe("standard error could not be written: EIO: no write\n");
});

test("a reader that left has lost nothing", async () => {
  const { stderr } = streams();
  const stdout = stream({}, "EPIPE");
  const terminal = processTerminal({ stdout, stderr });
  terminal.print("one");
  expect(await terminal.settled()).toBe(true);
  expect(stderr.text()).toBe("");
  expect(terminal.unread.aborted).toBe(true);
});

test("each stream gets marks where it is a terminal, and no other", () => {
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv("NO_COLOR", "");
  const written = (print: boolean, note: boolean) => {
    const [stdout, stderr] = [stream({ isTTY: print }), stream({ isTTY: note })];
    const terminal = processTerminal({ stdout, stderr });
    terminal.print(terminal.style.bold("a"));
    terminal.note(terminal.style.bold("b"));
    terminal.live(terminal.style.bold("c"));
    return [stdout.text(), stderr.text().split("\r")[0]];
  };
  const [a, b] = [`${COLOR.bold("a")}\n`, `${COLOR.bold("b")}\n`];
  expect(written(true, true)).toEqual([a, b]);
  expect(written(true, false)).toEqual([a, "b\n"]);
  expect(written(false, true)).toEqual(["a\n", b]);
  expect(written(false, false)).toEqual(["a\n", "b\n"]);
  vi.stubEnv("NO_COLOR", "1");
  expect(written(true, true)).toEqual(["a\n", "b\n"]);
});
