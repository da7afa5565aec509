import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "@oarlock/testkit";
import { describe, expect, it } from "vitest";
import { parseHubReference, resolveModelSource } from "./index.ts";

describe("a model's source", () => {
  it("is told by what it looks like and is", () => {
    const base = temporaryFolder("source");
    mkdirSync(join(base, "model.gguf.d"));
    for (const name of ["a.gguf", "a.bin"]) writeFileSync(join(base, name), "");
    expect(resolveModelSource("./model.gguf.d", base)).toEqual({
      kind: "folder",
      path: join(base, "model.gguf.d"),
    });
    expect(resolveModelSource("a.gguf", base)).toEqual({ kind: "gguf", path: join(base, "a.gguf") });
    expect(resolveModelSource(join(base, "a.bin"))).toEqual({ kind: "llama2c", path: join(base, "a.bin") });
    const hub = { kind: "hub", type: "model", name: "org/name", revision: "v1.0" };
    expect(resolveModelSource("hf://org/name@v1.0", base)).toEqual(hub);
    expect(parseHubReference("hf://datasets/org/name")).toEqual({
      type: "dataset",
      name: "org/name",
      revision: "main",
    });
    expect(parseHubReference("hf://o/n@refs/pr/3").revision).toBe("refs/pr/3");
  });

  it.each([
    ["nowhere", /MODEL_SOURCE.*"nowhere" does not exist .*accepted: a folder/],
    ["https://huggingface.co/org/name", /address of another kind/],
    ["hf://datasets/org/name", /is a data set/],
    ["hf://name", /no repository; accepted: hf:\/\//],
    ["hf://org/name@", /no repository/],
    ["hf://../..", /no repository/],
    ["hf://org/..", /no repository/],
    ["hf://org/name@../../x", /no repository/],
    ["hf://org/na me", /no repository/],
  ])("X1: %s is refused", (written, reason) => {
    expect(() => resolveModelSource(written, temporaryFolder("source"))).toThrow(reason);
  });

  it("X1: a file of another kind is refused", () => {
    const base = temporaryFolder("source");
    writeFileSync(join(base, "model.pt"), "");
    expect(() => resolveModelSource("model.pt", base)).toThrow(/file of another kind/);
  });
});
