/** The commands around a run, in the order of a user's day, on one small run; and what they leave behind: nothing. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { digestsOf, type Ended, LAUNCHER, oarlock, startOarlock, stepsDone, summaryOf } from "./oarlock.ts";
import { tinyModel } from "../tiny-model.ts";

const nats = requireNatsServer();
const STEPS = 10;

const RUN_FILE = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: sums }
spec:
  model: ${tinyModel(16)}
  stages:
    - name: sft
      type: sft
      sft:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 6
        batchSize: 16
    - name: grpo
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 4
        promptsPerStep: 8
        groupSize: 4
        sampling: { maxNewTokens: 4 }
        rewards: [{ name: answer, type: exact }]
  evaluation:
    data: { type: task, task: { name: addition, digits: 1, split: test, limit: 16 } }
  checkpoints: { every: 4, keep: 2 }
`;

test("plan, run, status, samples, eval, chat and export of one run, and of several seeds", async () => {
  const folder = temporaryFolder("commands");
  const home = join(folder, "home");
  mkdirSync(home);
  writeFileSync(join(folder, "run.yaml"), RUN_FILE);
  // A machine of a user, not of CI: what is left in home and temporary folders can be seen.
  const { CI: _, ...inherited } = process.env;
  // Its shell names a NATS server for other work, which `run` leaves alone.
  const env = {
    ...inherited,
    HOME: home,
    XDG_CACHE_HOME: home,
    TMPDIR: home,
    NATS_URL: "nats://127.0.0.1:1",
  };
  const all: Ended[] = [];
  const call = async (line: string, code = 0): Promise<string> => {
    const ended = await oarlock(line.split(" "), folder, env);
    expect(ended.code, `${line}\n${ended.text}`).toBe(code);
    all.push(ended);
    return ended.text;
  };

  const planned = await call("plan run.yaml");
  expect(planned).toMatch(/^stages\.1\.grpo\.groupSize +4 +run\.yaml:\d+:\d+$/m);
  expect(planned).toMatch(/^time +about \d.* where every answer is at its longest, evaluations \d/m);
  expect(await call("plan run.yaml --set stages.grpo.grpo.groupSize=1", 3)).toContain("GROUP_TOO_SMALL");

  const ran = await call("run run.yaml --out first");
  expect(ran).toContain(
    "bus: in memory, everything in one process (--processes would use the NATS server of",
  );
  const { policy, stages } = summaryOf(join(folder, "first"));
  expect(ran).toContain(`weights  ${policy.digest}`);
  expect(stages.map(({ before, after }) => [before, after].every((found) => found !== undefined))).toEqual([
    true,
    true,
  ]);
  expect(readFileSync(join(folder, "first/report.html"), "utf8")).toContain(policy.digest);
  expect(await call("run run.yaml --out first", 3)).toContain("is complete: nothing in its inputs changed");
  expect(await call("run run.yaml --out run.yaml", 3)).toContain(
    "[FOLDER_IMPOSSIBLE] --out run.yaml cannot be made",
  );
  writeFileSync(join(home, "plan.json"), "{");
  expect(await call("status home", 3)).toContain("RUN_FOLDER_INVALID");
  rmSync(join(home, "plan.json"));

  expect(await call("status first")).toMatch(/sums completed[^]* grpo 4\/4 /);
  const summary = readFileSync(join(folder, "first/summary.json"), "utf8");
  const failed = {
    ...summaryOf(join(folder, "first")),
    status: "failed",
    reason: "[SOME_CODE] for a reason",
  };
  writeFileSync(join(folder, "first/summary.json"), JSON.stringify(failed));
  expect(await call("status first")).toMatch(/^sums failed.*\n\[SOME_CODE\] for a reason\n/);
  writeFileSync(join(folder, "first/summary.json"), summary);
  expect(await call("status .", 3)).toContain("accepted: one of the runs in it, first\n");
  expect(await call("samples first")).toMatch(/\(wanted: \d+\)\n +before [^]*\n +after /);
  expect((await call("samples first --stage grpo --step 3 --count 2")).match(/grpo step 3/g)).toHaveLength(2);
  expect(await call("samples first --count 0", 2)).toContain("expected a whole number from 1 on");
  expect(await call("samples first --failed")).toContain("no scoring failed");

  const evaluated = await call("eval first --json");
  expect(await call("eval first --json")).toBe(evaluated);
  // D2: the run's own evaluation again, to the last digit.
  const { "timing_s/testing": _t, ...own } = stages.at(-1)?.after?.metrics ?? {};
  expect(Object.keys(own)).toContain("val-core/addition/answer/mean@4");
  expect((JSON.parse(evaluated) as { metrics: object }).metrics).toEqual(own);
  expect(await call("eval first --set evaluation.samples=2")).toContain("addition/answer/pass@2");
  expect(await call("eval first --set evaluation.metric=tone", 3)).toContain("METRIC_UNKNOWN");

  const answer = await call("chat first --prompt 1+2=");
  expect(await call("chat first --prompt 1+2= --system x", 3)).toContain("has no chat template");
  const piped = { cwd: folder, input: "hello\n1+2=\n", encoding: "utf8" } as const;
  const conversation = spawnSync(process.execPath, [LAUNCHER, "chat", "first"], piped);
  expect(conversation.stderr).toContain("TOKENIZER");
  expect(conversation).toMatchObject({ status: 3, stdout: answer });
  await call("export first exported");
  expect(await call("chat exported --prompt 1+2=")).toBe(answer);
  // A model is beside the run file that names it.
  mkdirSync(join(folder, "elsewhere"));
  const named = RUN_FILE.replace(/model: [^]*?(?=^ {2}stages)/m, "model: { from: ../exported }\n");
  writeFileSync(join(folder, "elsewhere/run.yaml"), named);
  expect(await call("eval elsewhere/run.yaml")).toContain("addition/answer/greedy");
  expect(await call("export first at-6 --step 6")).toContain(digestsOf(join(folder, "first"))[5]);
  expect(await call("export first at-7 --step 7", 3)).toContain("accepted: 6, 10");

  expect(await call("run run.yaml --out first --seeds 3,4", 3)).toContain(
    "[RUN_FOLDER_TAKEN] first holds a run, and --seeds makes a folder of runs: choose another --out",
  );
  const seeds = await call("run run.yaml --out seeds --seeds 3,4");
  expect(seeds).toMatch(/^after grpo: addition\/answer\/mean@4 +[\d.]+ .* 2$/m);
  const more = await call("run run.yaml --out seeds --seeds 3..5");
  expect(more).toContain(`the run in ${join("seeds", "seed-3")} is complete and is kept`);
  expect(more).toMatch(/^after grpo: addition\/answer\/mean@4 +[\d.]+ .* 3$/m);
  expect(summaryOf(join(folder, "seeds/seed-5")).steps).toBe(STEPS);

  for (const { text } of all) expect(text).not.toMatch(/Warning|This is a bug/);
  expect(readdirSync(home)).toEqual([]);
});

test("up takes a NATS server where there is one, says which, and gives the weights of one process", async () => {
  const folder = temporaryFolder("up");
  writeFileSync(join(folder, "run.yaml"), RUN_FILE);
  const { NATS_URL: _, ...inherited } = process.env;
  const up = async (out: string, path: string): Promise<string> => {
    const ended = await oarlock(["up", "run.yaml", "--out", out], folder, { ...inherited, PATH: path });
    expect(ended.code, ended.text).toBe(0);
    return ended.text;
  };
  const without = await up("alone", "/nowhere");
  expect(without).toContain("no NATS server");
  if (nats.absent) return;
  const withServer = await up("apart", `${dirname(nats.path)}:${process.env["PATH"] ?? ""}`);
  expect(withServer).toContain(`${nats.path} at nats://`);
  expect(summaryOf(join(folder, "apart")).policy).toEqual(summaryOf(join(folder, "alone")).policy);
});

test("a reader that leaves, as head does, ends no command with a stack trace", async () => {
  const folder = temporaryFolder("head");
  writeFileSync(join(folder, "run.yaml"), RUN_FILE);
  const { child, ended } = startOarlock(["plan", "run.yaml", "--no-calibrate"], folder);
  child.stdout?.destroy();
  expect(await ended).toMatchObject({ code: 0, text: "" });
});

/** Every write to it fails as on a full disk. */
const FULL = "/dev/full";

test.skipIf(!existsSync(FULL))(
  "a full disk under its output is told of, and ends no run: the folder holds what it came to",
  () => {
    const folder = temporaryFolder("full");
    writeFileSync(join(folder, "run.yaml"), RUN_FILE);
    const call = (line: string, stdio: readonly (number | "ignore" | "pipe")[]) =>
      spawnSync(process.execPath, [LAUNCHER, ...line.split(" ")], {
        cwd: folder,
        stdio: [...stdio],
        encoding: "utf8",
      });
    const full = openSync(FULL, "w");
    const planned = call("plan run.yaml --no-calibrate", ["ignore", full, "pipe"]);
    expect(planned.stderr).toMatch(/^standard output could not be written: ENOSPC: .*\n$/);
    expect(planned.status).toBe(1);

    const unheard = call("run run.yaml --out first", ["ignore", full, "pipe"]);
    expect(unheard.stderr).toMatch(/\nstandard output could not be written: ENOSPC/);
    expect(unheard.status, unheard.stderr).toBe(0);
    expect(existsSync(join(folder, "first/running"))).toBe(false);

    const unlogged = call("run run.yaml --out second", ["ignore", "pipe", full]);
    expect(unlogged.stdout).toMatch(/weights  [^]*\nstandard error could not be written: ENOSPC/);
    expect(unlogged.status, unlogged.stdout).toBe(0);
    expect(summaryOf(join(folder, "second")).policy).toEqual(summaryOf(join(folder, "first")).policy);
  },
);

test("the same run again into its folder is refused: busy while it is at work, to be resumed once it was killed", async () => {
  const folder = temporaryFolder("again");
  writeFileSync(join(folder, "run.yaml"), RUN_FILE);
  const line = ["run", "run.yaml", "--out", "out", "--set", "stages.grpo.grpo.steps=100000"];
  const started = startOarlock(line, folder);
  await stepsDone(join(folder, "out"), 1, started);
  const busy = await oarlock(line, folder);
  expect(busy.text).toMatch(/RUN_FOLDER_BUSY.*process \d+ is running in out/);
  expect(busy.code).toBe(3);
  started.child.kill("SIGKILL");
  await started.ended;
  const unfinished = await oarlock(line, folder);
  expect(unfinished.text).toContain("the run in out was not finished; `oarlock resume out` continues it");
  expect(unfinished.code).toBe(3);
});
