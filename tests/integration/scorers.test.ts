/** The pool with real threads: what a reward may do wrong costs that one item, and nothing else (S1). */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ScoringInput } from "@oarlock/rewards";
import { temporaryFolder } from "@oarlock/testkit";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { openScorers, rewardDigest, type RewardSettings } from "@oarlock/sandbox";

const input = (completion: string): ScoringInput => ({
  prompt: "p",
  completion,
  completionTokens: 1,
  fields: { answer: "a" },
  truncated: false,
});
const head = { weight: 1, optional: false };
const exact: RewardSettings = {
  name: "exact",
  type: "exact",
  ...head,
  timeoutMs: 1000,
  exact: { field: "answer", caseSensitive: true, trim: true },
};

const misbehaving = `
import { share } from "./sibling";
export const reward = async ({ completion }: { completion: string }): Promise<number> => {
  if (completion === "loop") for (;;);
  if (completion === "throw") throw new Error("no");
  if (completion === "exit") process.exit(3);
  if (completion === "nan") return Number.NaN;
  if (completion === "memory") { const hold: unknown[] = []; for (;;) hold.push(new Array(4e6).fill(0)); }
  return share(completion);
};`;

async function functionScorer(folder: string, timeoutMs: number) {
  writeFileSync(join(folder, "reward.ts"), misbehaving);
  writeFileSync(
    join(folder, "sibling.ts"),
    "export const share = (text: string): number => text.length / 10;",
  );
  const reward: RewardSettings = {
    name: "mine",
    type: "function",
    ...head,
    timeoutMs,
    function: { file: "reward.ts", export: "reward" },
  };
  return openScorers([reward, exact], { baseDir: folder, workers: 2 });
}

/** How often a timer of 10 ms came meanwhile. */
async function turning<T>(work: Promise<T>): Promise<{ readonly found: T; readonly turns: number }> {
  let turns = 0;
  const timer = setInterval(() => turns++, 10);
  const found = await work;
  clearInterval(timer);
  return { found, turns };
}

describe("a user's function in a killable thread", () => {
  test("scores, bundled with its TypeScript sibling; the verifier beside it is unaffected by what fails", async () => {
    const folder = temporaryFolder();
    await using pool = await functionScorer(folder, 300);
    const inputs = ["abc", "loop", "throw", "exit", "nan", "a", "loop", "abcde"].map(input);
    const verdicts = await pool.score(inputs);
    const mine = verdicts.map(([verdict]) => (verdict?.type === "scored" ? verdict.value : verdict?.code));
    expect(mine).toEqual([
      0.3,
      "REWARD_TIMEOUT",
      "REWARD_THREW",
      "REWARD_CRASHED",
      "VALUE_NOT_FINITE",
      0.1,
      "REWARD_TIMEOUT",
      0.5,
    ]);
    expect(verdicts.map(([, verdict]) => verdict)).toEqual(
      inputs.map(({ completion }) => ({ type: "scored", value: completion === "a" ? 1 : 0 })),
    );
  });

  test("its code lies in no file once it runs: whoever is killed leaves none behind", async () => {
    const [folder, scratch] = [temporaryFolder(), temporaryFolder("scratch")];
    vi.stubEnv("TMPDIR", scratch);
    onTestFinished(() => void vi.unstubAllEnvs());
    await using pool = await functionScorer(folder, 300);
    expect(readdirSync(scratch)).toEqual([]);
    // The thread that hangs is killed, and a fresh one loads the code again.
    expect(await pool.score([input("loop"), input("abc")])).toMatchObject([
      [{ type: "failed" }, {}],
      [{ value: 0.3 }, {}],
    ]);
    expect(readdirSync(scratch)).toEqual([]);
    // The one that ends its thread, or does not return, while it is imported.
    writeFileSync(join(folder, "exits.ts"), "process.exit(4);\nexport const reward = () => 1;");
    await expect(openScorers([functionReward("exits.ts")], { baseDir: folder })).rejects.toThrow("code 4");
    expect(readdirSync(scratch)).toEqual([]);
  });

  test("a function that eats all memory is a failure of its item", async () => {
    const folder = temporaryFolder();
    await using pool = await functionScorer(folder, 60_000);
    const [[blown] = [], [next] = []] = await pool.score([input("memory"), input("ab")]);
    expect(blown).toMatchObject({ type: "failed", code: "REWARD_CRASHED" });
    expect(next).toMatchObject({ type: "scored", value: 0.2 });
  }, 60_000);

  test.each([
    ["D1: one start that fails decides no reward", 2, [0.1, 0.2]],
    ["where no start succeeds, all that wait have failed", Infinity, ["REWARD_CRASHED", "REWARD_CRASHED"]],
  ])("%s", async (_, lastBadLoad, expected) => {
    const folder = temporaryFolder();
    const loads = JSON.stringify(join(folder, "loads"));
    const code = `import { appendFileSync, readFileSync } from "node:fs";
appendFileSync(${loads}, "x");
const load = readFileSync(${loads}, "utf8").length;
if (load > 1 && load <= ${lastBadLoad}) process.exit(4);
export const reward = ({ completion }) => completion === "exit" ? process.exit(3) : completion.length / 10;`;
    writeFileSync(join(folder, "reward.ts"), code);
    await using pool = await openScorers([functionReward("reward.ts")], { baseDir: folder });
    const verdicts = await pool.score(["exit", "a", "bb"].map(input));
    expect(verdicts.map(([verdict]) => (verdict?.type === "scored" ? verdict.value : verdict?.code))).toEqual(
      ["REWARD_CRASHED", ...expected],
    );
  });

  test("P1: the caller's loop turns while a function spins", async () => {
    const folder = temporaryFolder();
    await using pool = await functionScorer(folder, 400);
    const { turns } = await turning(pool.score([input("loop")]));
    expect(turns).toBeGreaterThan(10);
  });

  test("P1: the caller's loop turns while verifiers of its own thread read", async () => {
    await using pool = await openScorers([exact, { ...exact, name: "again" }], { baseDir: "." });
    const long = "a".repeat(200_000);
    let turns = 0;
    const immediate = (): void => void ((turns += 1), (next = setImmediate(immediate)));
    let next = setImmediate(immediate);
    const verdicts = await pool.score(Array.from({ length: 2_000 }, () => input(` ${long}`)));
    clearImmediate(next);
    expect(verdicts.every((row) => row.every((verdict) => verdict.type === "scored"))).toBe(true);
    expect(turns).toBeGreaterThan(1);
  });

  test("P1: a pattern that takes for ever is one failure, and the loop turns meanwhile", async () => {
    const regex: RewardSettings = {
      name: "regex",
      type: "regex",
      ...head,
      timeoutMs: 300,
      regex: { pattern: "^(a+)+$", flags: "" },
    };
    await using pool = await openScorers([exact, regex], { baseDir: "." });
    const { found: verdicts, turns } = await turning(pool.score([input(`${"a".repeat(64)}!`), input("a")]));
    expect(verdicts).toMatchObject([
      [{ value: 0 }, { type: "failed", code: "REWARD_TIMEOUT" }],
      [{ value: 1 }, { value: 1 }],
    ]);
    expect(turns).toBeGreaterThan(10);
  });

  test("its version is the digest of its code, equal wherever the files lie", async () => {
    const first = temporaryFolder();
    const second = temporaryFolder();
    await using one = await functionScorer(first, 100);
    await using other = await functionScorer(second, 100);
    expect(one.scorers[0]?.version).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(one.scorers[0]?.version).toBe(other.scorers[0]?.version);
  });
});

const functionReward = (file: string, overrides: object = {}): RewardSettings => ({
  name: "mine",
  type: "function",
  ...head,
  timeoutMs: 60_000,
  function: { file, export: "reward", ...overrides },
});

test("D1: the digest says what the code does, not where it or the packages it imports lie", async () => {
  const one = temporaryFolder();
  const other = join(temporaryFolder(), "runs/mine");
  mkdirSync(other, { recursive: true });
  const code = `import { defineReward } from "@oarlock/rewards"; import size from "size";
export const reward = defineReward(({ completion }) => size(completion));`;
  for (const [folder, root] of [
    [one, one],
    [other, join(other, "..")],
  ] as const) {
    writeFileSync(join(folder, "reward.ts"), code);
    mkdirSync(join(root, "node_modules/size"), { recursive: true });
    writeFileSync(join(root, "node_modules/size/index.js"), "module.exports = (text) => text.length;");
  }
  expect(await rewardDigest("reward.ts", other)).toBe(await rewardDigest("reward.ts", one));
  await using pool = await openScorers([functionReward("reward.ts")], { baseDir: other });
  expect(await pool.score([input("four")])).toEqual([[{ type: "scored", value: 4 }]]);
});

test("X1: a file that throws or lacks the export stops the run before it starts, and says what is there", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "throws.ts"), 'throw new TypeError("no table");\nexport const reward = 1;');
  writeFileSync(join(folder, "named.ts"), "export const score = () => 1; export const other = 2;");
  const open = (file: string) => openScorers([exact, functionReward(file)], { baseDir: folder });
  await expect(open("throws.ts")).rejects.toThrow(/mine \(throws\.ts\): TypeError: no table/);
  await expect(open("named.ts")).rejects.toThrow(/"reward".*other, score/);
});

test("a function of a CommonJS file is found, exported by name or in an object", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "named.cjs"), "exports.reward = ({ completion }) => completion.length;");
  writeFileSync(join(folder, "object.cjs"), "const reward = () => 7;\nmodule.exports = { reward };");
  writeFileSync(join(folder, "whole.cjs"), "module.exports = () => 8;");
  const rewards = ["named.cjs", "object.cjs", "whole.cjs"].map((file) => functionReward(file));
  await using pool = await openScorers(rewards, { baseDir: folder });
  expect(await pool.score([input("four")])).toEqual([[4, 7, 8].map((value) => ({ type: "scored", value }))]);
});

test("D1c: a pause of the machine, or what another item left behind, decides no reward", async () => {
  const folder = temporaryFolder();
  const once = join(folder, "once");
  writeFileSync(
    join(folder, "first.ts"),
    `import { existsSync, writeFileSync } from "node:fs";
export const reward = async ({ completion }) => {
  if (completion === "late") setTimeout(() => { throw new Error("later"); }, 20);
  if (completion === "waits") await new Promise((done) => setTimeout(done, 200));
  if (completion === "pauses" && !existsSync(${JSON.stringify(once)})) {
    writeFileSync(${JSON.stringify(once)}, "");
    for (;;);
  }
  return completion.length;
};`,
  );
  const settings = { ...functionReward("first.ts"), timeoutMs: 1000 };
  await using pool = await openScorers([settings], { baseDir: folder });
  const verdicts = await pool.score(["pauses", "late", "waits", "a"].map(input));
  expect(verdicts.flat()).toEqual([6, 4, 5, 1].map((value) => ({ type: "scored", value })));
});

test("L1: a thread that an earlier item left busy is replaced", async () => {
  const folder = temporaryFolder();
  writeFileSync(
    join(folder, "busy.ts"),
    `export const reward = ({ completion }) => {
  if (completion === "busy") setTimeout(() => { for (;;); }, 20);
  return completion.length;
};`,
  );
  await using pool = await openScorers([functionReward("busy.ts")], { baseDir: folder });
  expect(await pool.score([input("busy")])).toEqual([[{ type: "scored", value: 4 }]]);
  await new Promise((done) => setTimeout(done, 100));
  expect(await pool.score([input("a")])).toEqual([[{ type: "scored", value: 1 }]]);
});

test("an abort ends the wait, and the pool still serves", async () => {
  const folder = temporaryFolder();
  writeFileSync(
    join(folder, "slow.ts"),
    "export const reward = async ({ completion }) => (await new Promise((done) => setTimeout(done, 500)), completion.length);",
  );
  await using pool = await openScorers([functionReward("slow.ts")], { baseDir: folder });
  await expect(pool.score([input("a")], AbortSignal.timeout(50))).rejects.toMatchObject({
    name: "TimeoutError",
  });
  expect(await pool.score([input("ab")])).toEqual([[{ type: "scored", value: 2 }]]);
});

test("X1: a file that does not compile names its place", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "broken.ts"), "export const reward = (\n");
  const broken: RewardSettings = {
    name: "b",
    type: "function",
    ...head,
    timeoutMs: 1,
    function: { file: "broken.ts", export: "reward" },
  };
  await expect(openScorers([broken], { baseDir: folder })).rejects.toThrow(/broken\.ts:2:0/);
});
