import { expect, it } from "vitest";
import { recordingTerminal } from "../terminal.ts";
import { loadingLine } from "./loading.ts";

it("a long download is said once where nobody watches, and the rest not at all", () => {
  const terminal = recordingTerminal();
  const tell = loadingLine(terminal);
  for (const doneBytes of [0, 100_000_000, 200_000_000])
    tell({ what: "download", file: "model.safetensors", doneBytes, totalBytes: 200_000_000 });
  tell({ what: "download", file: "config.json", doneBytes: 1, totalBytes: 700 });
  tell({ what: "load", file: "model.safetensors", doneBytes: 1, totalBytes: 200_000_000 });
  expect(terminal.lines).toEqual(["downloading model.safetensors, 191 MiB"]);
});

it("who watches sees how much is done", () => {
  const lives: string[] = [];
  const tell = loadingLine({ ...recordingTerminal(), interactive: true, live: (text) => lives.push(text) });
  tell({ what: "download", file: "a.parquet", doneBytes: 50, totalBytes: 200 });
  tell({ what: "load", file: "a", doneBytes: 0, totalBytes: 0 });
  expect(lives).toEqual(["downloading a.parquet 25 %", "reading a 100 %"]);
});
