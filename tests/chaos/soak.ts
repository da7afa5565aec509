/**
 * `npm run chaos -- --minutes N --seed S`: runs on real processes, one after the other, each disturbed every few seconds by
 * whatever the seed says, and each compared with the undisturbed run (D1, T1). Ends with a table, as text and as JSON; the
 * exit code is 1 where anything was lost, trained twice, or came out different.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { requireNatsServer } from "@oarlock/testkit";
import { sleep } from "@oarlock/runtime";
import { openWaits } from "./busy.ts";
import { chaosPlan, GROUPS_PER_STEP } from "./chaos-plan.ts";
import { DisturbedRun, undisturbed } from "./disturbed-run.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string", default: "1" },
    steps: { type: "string", default: "40" },
    out: { type: "string" },
  },
});
const [minutes, seed, steps] = [Number(values.minutes), Number(values.seed), Number(values.steps)];

/** What may happen to a run. Each resolves when the harm is done. */
const FAILURES: Readonly<Record<string, (run: DisturbedRun, random: () => number) => Promise<void>>> = {
  "SIGKILL of an actor": async (run, random) =>
    void run.signal(random() < 0.5 ? "actor-0" : "actor-1", "SIGKILL"),
  "SIGKILL of the reward worker": async (run) => void run.signal("reward-0", "SIGKILL"),
  "SIGKILL of the learner": async (run) => void run.signal("learner-0", "SIGKILL"),
  "SIGKILL of the broker, back after up to 1 s": async (run, random) => {
    await run.broker.stop("SIGKILL");
    await sleep(random() * 1_000);
    await run.startBroker();
  },
  "SIGSTOP of an actor beyond the ack wait": async (run, random) => {
    const instance = random() < 0.5 ? "actor-0" : "actor-1";
    if (!run.signal(instance, "SIGSTOP")) return;
    await sleep(5_500 + random() * 1_000);
    run.signal(instance, "SIGCONT");
  },
};
/** Each death as likely as all stops together, which take longer. */
const WEIGHTS = [4, 3, 4, 2, 1];

interface Row {
  times: number;
  readonly recoverySeconds: number[];
}

interface Outcome {
  readonly run: number;
  readonly failures: number;
  readonly completed: boolean;
  readonly equal: boolean;
  readonly groupsLost: number;
  readonly groupsTwice: number;
}

/** Counter-based: the same seed gives the same disturbances. */
function randomOf(of: number): () => number {
  let counter = 0;
  return () => {
    let h = Math.imul(of ^ 0x9e37_79b9, 0x85eb_ca6b) ^ Math.imul(++counter, 0xc2b2_ae35);
    h = Math.imul(h ^ (h >>> 15), 0x2c1b_3c6d);
    h = Math.imul(h ^ (h >>> 12), 0x297a_2d39);
    return ((h ^ (h >>> 15)) >>> 0) / 2 ** 32;
  };
}

function pick(random: () => number): string {
  const names = Object.keys(FAILURES);
  let at = random() * WEIGHTS.reduce((sum, weight) => sum + weight, 0);
  return names.find((_, index) => (at -= WEIGHTS[index] ?? 0) < 0) ?? names[0]!;
}

const program = requireNatsServer(new Set(["nats"]));
const plan = await chaosPlan(steps);
const calm = await undisturbed(plan);
const random = randomOf(seed);
const rows = new Map<string, Row>(
  Object.keys(FAILURES).map((name) => [name, { times: 0, recoverySeconds: [] }]),
);
const outcomes: Outcome[] = [];
const endMs = performance.now() + minutes * 60_000;
while (performance.now() < endMs) outcomes.push(await disturb(outcomes.length));
report();

/** One run, disturbed until it is over. */
async function disturb(number: number): Promise<Outcome> {
  let furthest = 0;
  let failures = 0;
  const twice: string[] = [];
  await using run = await DisturbedRun.start({
    run: plan,
    natsServer: program.path,
    onEvent: (event) => {
      if (event.type === "stalled") void tellStall(event.message, run);
      if (event.type !== "step") return;
      // Done again after a death is not trained twice: it must be the very same policy.
      if (event.policy.digest !== calm[event.step - 1]) twice.push(`step ${event.step}`);
      furthest = Math.max(furthest, event.step);
    },
  });
  while (!run.over && performance.now() < endMs && furthest < steps - 2) {
    const before = furthest;
    await untilStep(run, () => furthest > before);
    await sleep(random() * 700);
    if (run.over || furthest >= steps - 2) break;
    const name = pick(random);
    const [hitMs, hitAt] = [performance.now(), furthest];
    await FAILURES[name]!(run, random);
    failures++;
    // Two: the batch of the next one may have been complete already.
    await untilStep(run, () => furthest > hitAt + 1);
    const row = rows.get(name)!;
    row.times++;
    row.recoverySeconds.push((performance.now() - hitMs) / 1000);
    console.log(
      `run ${number}, step ${hitAt}/${steps}: ${name}, two steps on after ${seconds(row.recoverySeconds.at(-1))}`,
    );
  }
  try {
    const { digests, groupsTrained } = await run.finish();
    const equal = twice.length === 0 && JSON.stringify(digests) === JSON.stringify(calm);
    const groups = steps * GROUPS_PER_STEP;
    const outcome = {
      run: number,
      failures,
      completed: true,
      equal,
      groupsLost: Math.max(0, groups - groupsTrained),
      groupsTwice:
        Math.max(0, groupsTrained - groups) + (digests.length - new Set(digests).size) * GROUPS_PER_STEP,
    };
    console.log(JSON.stringify(outcome));
    return outcome;
  } catch (reason) {
    console.log(run.logs().slice(-10_000));
    console.log(`run ${number} failed:`, reason);
    return { run: number, failures, completed: false, equal: false, groupsLost: 0, groupsTwice: 0 };
  }
}

/** Who waits for whom. */
async function tellStall(message: string, run: DisturbedRun): Promise<void> {
  console.log([message, ...(await openWaits(run))].join("\n  "));
}

async function untilStep(run: DisturbedRun, reached: () => boolean): Promise<void> {
  while (!run.over && !reached()) await sleep(5);
}

function seconds(value: number | undefined): string {
  return value === undefined ? "" : `${value.toFixed(1)} s`;
}

function report(): void {
  const total = [...rows.values()].reduce((sum, { times }) => sum + times, 0);
  const good = outcomes.every(
    ({ completed, equal, groupsLost, groupsTwice }) => completed && equal && groupsLost + groupsTwice === 0,
  );
  console.log(`\n${outcomes.length} runs of ${steps} steps, ${total} failures, seed ${seed}`);
  console.log("| failure | times | two steps on after, median | worst |\n|---|---|---|---|");
  for (const [name, { times, recoverySeconds }] of rows) {
    const sorted = recoverySeconds.toSorted((a, b) => a - b);
    console.log(
      `| ${name} | ${times} | ${seconds(sorted[Math.floor(sorted.length / 2)])} | ${seconds(sorted.at(-1))} |`,
    );
  }
  const count = (of: (outcome: Outcome) => boolean): number => outcomes.filter(of).length;
  const sum = (of: (outcome: Outcome) => number): number => outcomes.reduce((all, one) => all + of(one), 0);
  console.log(
    `completed ${count(({ completed }) => completed)}, digests equal ${count(({ equal }) => equal)}, ` +
      `groups lost ${sum(({ groupsLost }) => groupsLost)}, groups trained twice ${sum(({ groupsTwice }) => groupsTwice)}`,
  );
  if (values.out !== undefined) {
    mkdirSync(dirname(values.out), { recursive: true });
    const json = { seed, steps, minutes, failures: Object.fromEntries(rows), runs: outcomes };
    writeFileSync(values.out, `${JSON.stringify(json, undefined, 2)}\n`);
  }
  process.exitCode = good ? 0 : 1;
}
