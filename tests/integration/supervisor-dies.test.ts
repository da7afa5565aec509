/** SIGKILL of the broker of `oarlock run --processes`: it comes back. Of the supervisor: nobody is left behind, and `oarlock resume` goes on (T3). */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import type { ProcessesFile } from "@oarlock/cli/processes";
import { requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { describe, expect, test, vi } from "vitest";
import { digestsOf, oarlock, startOarlock, stepsDone } from "../e2e/oarlock.ts";
import { ADDITION_RUN_FILE } from "./addition-plan.ts";

const program = requireNatsServer();
const STEPS = 60;
const LONG = ADDITION_RUN_FILE.replaceAll("steps: 6", `steps: ${STEPS / 2}`);

// Written whole, and only by the supervisor.
const factsOf = (out: string): ProcessesFile =>
  JSON.parse(readFileSync(join(out, "processes.json"), "utf8")) as ProcessesFile;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // Ended, and not yet fetched by whoever inherits it.
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, "utf8"));
}

describe.skipIf(program.absent)(`broker and supervisor are killed${program.note}`, () => {
  test("T3, D1: the broker is started again, all end with the supervisor, and a resume gives the weights of a calm run", async () => {
    const folder = temporaryFolder("supervisor");
    writeFileSync(join(folder, "run.yaml"), LONG);
    vi.stubEnv("NATS_URL", undefined);
    vi.stubEnv("PATH", [dirname(program.path), process.env["PATH"]].join(delimiter));
    const started = startOarlock(["run", "run.yaml", "--processes", "--out", "out"], folder);
    const out = join(folder, "out");
    await stepsDone(out, 5, started);
    const first = factsOf(out).broker.pid ?? 0;
    process.kill(first, "SIGKILL");
    await expect.poll(() => factsOf(out).broker.pid, { timeout: 20_000 }).not.toBe(first);
    await stepsDone(out, 15, started);
    const file = factsOf(out);
    const pids = [file.broker.pid, ...file.children.map(({ pid }) => pid)].filter((pid) => pid !== undefined);
    expect(pids).toHaveLength(1 + file.children.length);
    expect(pids.filter(isAlive)).toEqual(pids);
    started.child.kill("SIGKILL");
    await started.ended;
    await expect.poll(() => pids.filter(isAlive), { timeout: 20_000 }).toEqual([]);
    const resumed = await oarlock(["resume", "out"], folder);
    expect(resumed.code, resumed.text).toBe(0);
    const calm = await oarlock(["run", "run.yaml", "--out", "calm"], folder);
    expect(calm.code, calm.text).toBe(0);
    expect(digestsOf(join(folder, "out"))).toEqual(digestsOf(join(folder, "calm")));
    expect(digestsOf(join(folder, "out"))).toHaveLength(STEPS);
  });
});
