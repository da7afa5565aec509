/**
 * `npm test`: installs, builds, checks and tests everything; needs Node and npm only. Suites whose files or servers
 * are absent skip and say so; `OARLOCK_REQUIRE=models,data,…` turns such a skip into a failure.
 *
 * Ends with one line that counts tests: `N passed, N failed, N skipped`.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installAndBuild, run } from "./setup.mjs";

installAndBuild();
const staticChecks = ["format:check", "generated:check", "lint", "layers", "typecheck", "unused"];
const failedChecks = staticChecks.filter(
  (name) => run("npm", ["run", "--silent", name], { mayFail: true }) !== 0,
);

const folder = mkdtempSync(join(tmpdir(), "oarlock-test-"));
const results = join(folder, "results.json");
const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${results}`];
const code = run("npx", ["vitest", "run", ...reporters, ...process.argv.slice(2)], { mayFail: true });
const report = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : undefined;
rmSync(folder, { recursive: true });

const passed = (report?.numPassedTests ?? 0) + staticChecks.length - failedChecks.length;
// A file that fails before or after its tests has no failed test in it.
const brokenFiles = (report?.testResults ?? []).filter(
  ({ status, assertionResults }) =>
    status === "failed" && !assertionResults.some((test) => test.status === "failed"),
);
const failed = (report?.numFailedTests ?? 0) + brokenFiles.length + failedChecks.length;
const skipped = (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0);
if (failedChecks.length > 0) console.error(`Failed checks: ${failedChecks.join(", ")} (npm run <check>)`);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failedChecks.length > 0 || code !== 0 || report === undefined ? 1 : 0;
