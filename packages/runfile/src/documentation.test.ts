/** The YAML in README, docs and examples is what the schema accepts: whole run files as they stand, parts of one in the place they have. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { formatProblem } from "./problem.ts";
import { readRunFile } from "./read-run-file.ts";

const ROOT = join(import.meta.dirname, "../../..");

type Part = Readonly<Record<string, unknown>>;

const DATA = { type: "task", task: { name: "addition", digits: 1, split: "train" } };
const REWARDS = [{ name: "answer", type: "exact" }];
const stageWith = (part: Part): Part => ({
  name: "learn",
  type: "ppo",
  ppo: { data: DATA, steps: 1, rewards: REWARDS, ...part },
});
const fileWith = (spec: Part): Part => ({
  apiVersion: "oarlock.dev/v1alpha1",
  kind: "TrainingRun",
  metadata: { name: "documented" },
  spec: { model: { from: "./model" }, stages: [stageWith({})], ...spec },
});

/** What a snippet is a part of decides what it is put into: a list of stages, a spec, a block of rollouts. */
function runFileOf(snippet: unknown): Part {
  if (Array.isArray(snippet)) return fileWith({ stages: snippet });
  const part = snippet as Part; // a YAML mapping
  if ("kind" in part) return part;
  if ("spec" in part) return fileWith(part["spec"] as Part);
  return fileWith({ stages: [stageWith(part)] });
}

interface Snippet {
  readonly place: string;
  readonly text: string;
}

function snippetsOf(path: string): Snippet[] {
  const text = readFileSync(join(ROOT, path), "utf8");
  return [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map(({ 1: found = "", index }) => ({
    place: `${path}:${text.slice(0, index).split("\n").length}`,
    text: found,
  }));
}

const pages = readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".md"))
  .map((name) => join("docs", name));
const snippets = ["README.md", ...pages.toSorted()].flatMap(snippetsOf);

describe("YAML of the documentation", () => {
  test("is found", () => {
    expect(snippets.length).toBeGreaterThan(5);
    expect(snippets.some(({ text }) => text.includes("kind: TrainingRun"))).toBe(true);
  });

  test.each(snippets)("$place is accepted", ({ place, text }) => {
    const read = readRunFile(JSON.stringify(runFileOf(parse(text))), { file: place });
    expect(read.ok ? [] : read.problems.map(formatProblem)).toEqual([]);
  });

  test.each(readdirSync(join(ROOT, "examples")).filter((name) => name.endsWith(".yaml")))(
    "the example %s is accepted",
    (name) => {
      const read = readRunFile(readFileSync(join(ROOT, "examples", name), "utf8"), { file: name });
      expect(read.ok ? [] : read.problems.map(formatProblem)).toEqual([]);
    },
  );

  test("X1: what no run file has is not accepted", () => {
    const read = readRunFile(JSON.stringify(runFileOf({ rewards: REWARDS, epoch: 1 })), { file: "docs" });
    expect(read).toMatchObject({ ok: false });
  });
});
