/**
 * Reads five runs of examples/hh-reward-model.yaml, one for each fold, and says what they come to: the held-out accuracy with its
 * 95 % interval over folds, pairs that were too long, and a control without any model, "the longer answer is the better one". By
 * hand, from the root:
 *
 *   for k in 0 1 2 3 4; do oarlock run examples/hh-reward-model.yaml --out runs/hh-$k \
 *     --set stages.rm.reward-model.fold=$k --set stages.rm.reward-model.minimumAccuracy=0; done
 *   npx tsx --conditions=@oarlock/source tests/controls/hh-folds.ts PAIRS.jsonl runs/hh-0 runs/hh-1 runs/hh-2 runs/hh-3 runs/hh-4
 *
 * PAIRS is the file that the runs read. Pairs of one first human turn are in one fold, so folds are as good as independent.
 */
import { readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { openFileData } from "@oarlock/data";
import type { Prompt } from "@oarlock/data";
import { parseMetrics } from "@oarlock/report";

/** 97.5 % quantile of Student's t by degrees of freedom. */
const STUDENT: Readonly<Record<number, number>> = { 1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262 };

const [data, ...folders] = process.argv.slice(2);
if (data === undefined || folders.length < 2) throw new Error("usage: hh-folds.ts PAIRS.jsonl RUN RUN …");

const folds = folders.map((folder) => {
  const records = parseMetrics(readFileSync(join(folder, "metrics.jsonl"), "utf8"));
  const found =
    records.findLast(({ kind, when }) => kind === "evaluation" && when === "after")?.metrics ?? {};
  const valueOf = (ending: string): number =>
    Object.entries(found).find(([name]) => name.endsWith(ending))?.[1] ?? Number.NaN;
  return {
    folder,
    accuracy: valueOf("/accuracy"),
    pairs: valueOf("/pairs"),
    overlong: valueOf("/pairs_overlong"),
  };
});
for (const { folder, accuracy, pairs, overlong } of folds)
  console.log(`${basename(folder)}: ${accuracy.toFixed(4)} of ${pairs} held-out pairs, ${overlong} too long`);

const count = folds.length;
const mean = folds.reduce((sum, { accuracy }) => sum + accuracy, 0) / count;
const variance = folds.reduce((sum, { accuracy }) => sum + (accuracy - mean) ** 2, 0) / (count - 1);
const half = (STUDENT[count - 1] ?? 1.96) * Math.sqrt(variance / count);
const pairs = folds.reduce((sum, one) => sum + one.pairs, 0);
const pooled = folds.reduce((sum, one) => sum + one.accuracy * one.pairs, 0) / pairs;
console.log(
  `mean of ${count} folds: ${mean.toFixed(4)} (${(mean - half).toFixed(4)} to ${(mean + half).toFixed(4)})`,
);
console.log(`all ${pairs} pairs, each held out once: ${pooled.toFixed(4)}`);

const lengthOf = (prompt: Prompt | undefined): number =>
  typeof prompt === "string"
    ? prompt.length
    : (prompt ?? []).reduce((sum, { content }) => sum + content.length, 0);
const { rows } = await openFileData({ path: basename(data) }, { baseDir: dirname(resolve(data)) });
const longer = rows.reduce((sum, { chosen, rejected }) => {
  const lead = lengthOf(chosen) - lengthOf(rejected);
  return sum + (lead > 0 ? 1 : lead === 0 ? 0.5 : 0);
}, 0);
console.log(`control, "longer is better": ${(longer / rows.length).toFixed(4)} of ${rows.length} pairs`);
