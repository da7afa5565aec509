/** Resumes of one run at one time. */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ResolvedSpec, runDigest, type RunInputs } from "@oarlock/runfile";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, onTestFinished, test } from "vitest";
import { RUNNING_FOLDER } from "../running-mark.ts";
import { recordingTerminal } from "../terminal.ts";
import { resumeCommand } from "./resume.ts";

test("a run that another process completed while the resume waited for it is complete", async () => {
  const folder = temporaryFolder("resume");
  const write = (name: string, value: object) => writeFileSync(join(folder, name), JSON.stringify(value));
  const spec = { compute: {} } as ResolvedSpec; // what a resume reads of it before it waits
  const inputs = {} as RunInputs;
  const run = { kind: "ResolvedRun", spec, inputs, digest: runDigest(spec, inputs) };
  write("plan.json", { uid: "u", run });
  const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  onTestFinished(() => void other.kill("SIGKILL"));
  mkdirSync(join(folder, RUNNING_FOLDER));
  write(`${RUNNING_FOLDER}/other.json`, { pid: other.pid, host: hostname() });

  const terminal = recordingTerminal();
  const command = resumeCommand({ terminal, now: () => 0, exit: () => {} });
  const resumed = command.parseAsync([folder], { from: "user" });
  await sleep(200); // It waits by now, for some seconds at most.
  write("summary.json", { status: "completed" });
  other.kill("SIGKILL");
  await resumed;
  expect(terminal.lines).toEqual([
    `${folder}: the run is complete; its model is in ${join(folder, "final")}`,
  ]);
});
