/** Every place of a run file that names something to read, and what of that a pod can. */
import { describe, expect, it } from "vitest";
import type { RunSpec } from "./run-file.ts";
import { bundleReference, clusterSource, mapSources, sourcePath, sourcesOf } from "./sources.ts";

const file = (path: string) => ({ type: "file", file: { path } }) as const;
const code = (path: string) => ({ name: "mine", type: "function", function: { file: path } }) as const;
const secured = {
  name: "far",
  type: "http",
  http: { url: "https://h/" },
  service: { tls: { caFile: "ca.crt", certFile: "me.crt", keyFile: "me.key" } },
} as const;
const learned = { name: "learned", type: "model", model: { from: "rm" } } as const;
const careful = { name: "careful", type: "ensemble", ensemble: { from: ["stage/b", "rm2"] } } as const;
const spec: RunSpec = {
  model: {
    init: {
      hiddenSize: 2,
      intermediateSize: 2,
      layers: 1,
      heads: 1,
      maxPositions: 2,
      tokenizer: { type: "file", file: { path: "tokenizer.json" } },
    },
  },
  stages: [
    { name: "a", type: "sft", sft: { data: file("a.jsonl"), steps: 1 } },
    { name: "b", type: "reward-model", "reward-model": { data: file("b.jsonl"), steps: 1 } },
    {
      name: "c",
      type: "ppo",
      ppo: {
        data: file("c.jsonl"),
        steps: 1,
        rewards: [code("c.ts")],
        ptx: { data: file("p.jsonl"), coefficient: 1 },
      },
    },
    {
      name: "d",
      type: "grpo",
      grpo: {
        data: { type: "task", task: { name: "addition" } },
        steps: 1,
        rewards: [code("d.ts"), secured, learned, careful],
      },
    },
  ],
  evaluation: { data: file("e.jsonl"), rewards: [code("e.ts")] },
};

describe("sources of a run", () => {
  it("are found in the model, every kind of stage, and the evaluation, and changed where they stand", () => {
    expect(sourcesOf(spec).map(({ kind, reference }) => `${kind} ${reference}`)).toEqual([
      "tokenizer tokenizer.json",
      "data a.jsonl",
      "data b.jsonl",
      "data c.jsonl",
      "function c.ts",
      "data p.jsonl",
      "function d.ts",
      "authority ca.crt",
      "scorer rm",
      "scorer rm2",
      "data e.jsonl",
      "function e.ts",
    ]);
    const changed = mapSources(spec, ({ reference }) => `x/${reference}`);
    expect(sourcesOf(changed).map(({ reference }) => reference)).toEqual(
      sourcesOf(spec).map(({ reference }) => `x/${reference}`),
    );
    expect(mapSources(spec, ({ reference }) => reference)).toEqual(spec);
    expect(sourcesOf({ ...spec, model: { from: "hf://org/name" } })[0]).toEqual({
      kind: "model",
      reference: "hf://org/name",
    });
  });

  it("of a cluster have a place below one folder", () => {
    const digest = "a".repeat(64);
    expect(sourcePath(bundleReference(digest, "model"))).toBe(`bundle/${digest}/model`);
    expect(sourcePath("configmap://rows/a.jsonl")).toBe("configmap/rows/a.jsonl");
    expect(sourcePath("pvc://shared/sets/a.jsonl")).toBe("pvc/shared/sets/a.jsonl");
    expect(sourcePath("./rows.jsonl")).toBe("./rows.jsonl");
  });

  it.each([
    `bundle://sha256-${"a".repeat(64)}/../x`,
    `bundle://sha256-${"a".repeat(64)}/`,
    `bundle://sha256-${"a".repeat(63)}/x`,
    "configmap://rows/..",
    "configmap://../x",
    "configmap://rows/a/b",
    "pvc://shared/a/../../b",
    "pvc://shared/",
    "pvc://Shared/a",
  ])("that try to leave it are none: %s", (reference) => {
    expect(clusterSource(reference)).toBeUndefined();
  });
});
