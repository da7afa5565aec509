/** What reaches the streams of a process: a live line that stays one line. */
import { Writable } from "node:stream";
import { COLOR } from "@oarlock/report";
import { expect, test } from "vitest";
import { processTerminal, type Streams } from "./terminal.ts";

/** A stream that remembers what was written to it. */
function stream(traits: { readonly isTTY?: boolean; readonly columns?: number } = {}) {
  const parts: string[] = [];
  const writable = new Writable({
    write(chunk, _encoding, done) {
      parts.push(String(chunk));
      done();
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
