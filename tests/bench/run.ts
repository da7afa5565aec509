/**
 * `npm run bench`: measures the hot paths and prints a table; `-- --json` prints one JSON object a line instead, and
 * further words select rows by the start of their names (`npm run bench -- train. generate.`).
 *
 * Numbers are worth something on an idle machine only, so every row carries a ratio to a yardstick of the same run.
 */
import type { BenchRow, SkippedRow } from "./row.ts";

/** What can be measured, by the start of its rows' names. Loaded on demand: each needs other packages. */
const suites: Readonly<Record<string, () => Promise<readonly (BenchRow | SkippedRow)[]>>> = {
  "train.": async () => (await import("./train.ts")).rows(),
  "generate.": async () => (await import("./generate.ts")).rows(),
  "grpo.": async () => (await import("./grpo.ts")).rows(),
  "ppo.": async () => (await import("./ppo.ts")).rows(),
  "streaming.": async () => (await import("./streaming.ts")).rows(),
  "policy.": async () => (await import("./policy.ts")).rows(),
  "bus.": async () => (await import("./bus-scale.ts")).rows(),
  "actors.": async () => (await import("./actors.ts")).rows(),
  "kube.fail_over.": async () => (await import("./kube.ts")).rows(),
  "kube.load.": async () => (await import("./kube-load.ts")).rows(),
};

const given = process.argv.slice(2);
const words = given.filter((word) => word !== "--json");
const asJson = given.includes("--json");

const selects = (word: string, suite: string): boolean => word.startsWith(suite) || suite.startsWith(word);
const wanted = (suite: string): boolean => words.length === 0 || words.some((word) => selects(word, suite));

const names = Object.keys(suites);
const unknown = words.filter((word) => !names.some((suite) => selects(word, suite)));
if (unknown.length > 0) {
  console.error(
    `${unknown.join(", ")}: nothing to measure; accepted: --json, and starts of ${names.join(" ")}`,
  );
  process.exit(2);
}

function line(row: BenchRow | SkippedRow): string {
  if (asJson) return JSON.stringify(row);
  if ("skipped" in row) return `${row.name.padEnd(36)} skipped: ${row.skipped}`;
  const ratio = row.ratio === undefined ? "" : `${row.ratio.toFixed(3)} × ${row.relative_to ?? ""}`;
  return `${row.name.padEnd(36)} ${row.value.toPrecision(4).padStart(12)} ${row.unit.padEnd(14)} ${ratio}`;
}

for (const [suite, rows] of Object.entries(suites)) {
  if (!wanted(suite)) continue;
  for (const row of await rows()) console.log(line(row));
}
