/** Where a run stands is what its newest sitting says, however that one ended. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { metricsLine } from "@oarlock/report";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { prepare } from "./prepare.ts";
import { tinyRun } from "./specimens.ts";
import { type PlanDocument, readRecords, runPaths } from "./run-folder.ts";
import { RUNNING_FOLDER } from "./running-mark.ts";
import { beginSitting, endSitting } from "./sittings.ts";
import { standingOf, summaryOf } from "./standing.ts";

const RUN_FILE = tinyRun(`    - name: learn
      type: sft
      sft: { data: { type: task, task: { name: addition, digits: 1 } }, steps: 9 }
`);

async function startedRun() {
  const folder = temporaryFolder("standing");
  const paths = runPaths(folder);
  writeFileSync(paths.runFile, RUN_FILE);
  const { source, plan } = await prepare(paths.runFile, []);
  const { path, baseDir, set } = source;
  const document: PlanDocument = { uid: "u", source: path, baseDir, set, run: plan.run, values: [] };
  mkdirSync(join(folder, RUNNING_FOLDER));
  return {
    paths,
    document,
    standing: async () => standingOf({ folder, plan: document, records: await readRecords(paths) }, 20_000),
    mark: (pid: number, host = hostname()) =>
      writeFileSync(join(folder, RUNNING_FOLDER, "mark.json"), JSON.stringify({ pid, host })),
    unmark: () => rmSync(join(folder, RUNNING_FOLDER), { recursive: true }),
    record: (step: number) =>
      writeFileSync(paths.metrics, metricsLine(recordOf(step)), { flag: step === 1 ? "w" : "a" }),
  };
}

const recordOf = (step: number) =>
  ({
    kind: "step",
    stage: "learn",
    step,
    globalStep: step,
    policyVersion: step,
    policyDigest: `d${step}`,
    timeMs: 10_000 + 1000 * step,
    metrics: {},
  }) as const;

test("running while its process is there, killed when it is not, and of another machine's neither", async () => {
  const { paths, standing, mark, unmark, record } = await startedRun();
  const owner = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  mark(owner.pid ?? 0);
  await beginSitting(paths, { startedMs: 10_000, earlierSeconds: 0 });
  expect(await standing()).toMatchObject({ status: "running", steps: 0, seconds: 10 });
  record(1);
  record(2);
  const policy = { version: 2, digest: "d2" };
  expect(await standing()).toMatchObject({ status: "running", steps: 2, policy, seconds: 10 });
  owner.kill("SIGKILL");
  await once(owner, "exit");
  expect(await standing()).toMatchObject({ status: "killed", steps: 2, policy, seconds: 2 });
  mark(process.ppid, "another-machine");
  expect(await standing()).toMatchObject({ status: "running or killed", steps: 2 });
  unmark();
  expect(await standing()).toMatchObject({ status: "running or killed", steps: 2 });
});

test("as its summary says, until another sitting begins", async () => {
  const { paths, document, standing, mark, unmark, record } = await startedRun();
  record(1);
  const write = (status: string) => {
    const ended = { status, seconds: 3, reason: "for a reason", records: [recordOf(1)] };
    writeFileSync(paths.summary, JSON.stringify(summaryOf(document, ended)));
  };
  write("failed");
  unmark();
  expect(await standing()).toMatchObject({ status: "failed", steps: 1, reason: "for a reason" });
  mkdirSync(join(paths.folder, RUNNING_FOLDER));
  mark(process.ppid);
  await beginSitting(paths, { startedMs: 15_000, earlierSeconds: 3 });
  record(2);
  const running = await standing();
  expect(running).toMatchObject({ status: "running", steps: 2, seconds: 8 });
  expect(running).not.toHaveProperty("reason");
  // It was killed between its summary and its end.
  write("completed");
  await endSitting(paths);
  expect(await standing()).toMatchObject({ status: "completed" });
});
