/**
 * `npm run golden`: holds the objectives against golden vectors and prints a line a check. `OARLOCK_GOLDEN` names another
 * file of the same form. Exits with 1 where a value differs by more than 1e-6 (relative above 1) or nothing could be checked, 2
 * where there is no such file.
 */
import { existsSync, readFileSync } from "node:fs";
import { goldenChecks, greatestDifference, uncovered } from "./checks.ts";
import type { GoldenFile } from "./file.ts";

const TOLERANCE = 1e-6;
const path = process.env["OARLOCK_GOLDEN"] ?? "../shared/golden/objectives.json";

if (!existsSync(path)) {
  console.error(`${path} does not exist. OARLOCK_GOLDEN=FILE names a file of golden vectors.`);
  process.exit(2);
}
const file = readGolden();
const checks = goldenChecks(file);
let failed = 0;
for (const check of checks) {
  const difference = greatestDifference(check);
  const passes = difference <= TOLERANCE;
  if (!passes) failed++;
  console.log(
    `${passes ? "ok  " : "FAIL"} ${check.form.padEnd(9)} ${check.name.padEnd(48)} ${difference.toExponential(1)}`,
  );
}
console.log(`${checks.length - failed} of ${checks.length} agree within ${TOLERANCE}.`);
console.log(`Not covered yet: ${uncovered(file, checks).join(", ")}`);
process.exitCode = failed > 0 || checks.length === 0 ? 1 : 0;

function readGolden(): GoldenFile {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as GoldenFile;
  } catch (reason) {
    console.error(`${path} is not JSON: ${String(reason)}`);
    process.exit(2);
  }
}
