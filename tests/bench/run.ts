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
  "kube.": async () => (await import("./kube.ts")).rows(),
};

const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const asJson = process.argv.includes("--json");

function wanted(suite: string): boolean {
  return words.length === 0 || words.some((word) => word.startsWith(suite) || suite.startsWith(word));
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
