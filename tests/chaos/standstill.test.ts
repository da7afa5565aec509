/** L1: nothing moves, and a line says at whom; when the cause is gone the run goes on as if nothing had been (D1, D1c). */
import { describe, expect, it } from "vitest";
import { requireNatsServer } from "@oarlock/testkit";
import { isGenerating, isScoring } from "./busy.ts";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();
const WARN_MS = 2_000;

interface Cause {
  readonly title: string;
  readonly line: RegExp;
  readonly begin: (run: DisturbedRun) => Promise<void>;
  readonly end: (run: DisturbedRun) => Promise<void>;
}

const all = (run: DisturbedRun, instances: readonly string[], signal: NodeJS.Signals): void => {
  for (const instance of instances) run.signal(instance, signal);
};
const ACTORS = ["actor-0", "actor-1"];

const CAUSES: readonly Cause[] = [
  {
    title: "actors that stand still",
    line: /held up at the actors: \d+ pieces of work in hand, \d+ not taken, the oldest \d/,
    begin: async (run) => {
      await run.moment("actor-0 generates", () => isGenerating(run, "actor-0"));
      all(run, ACTORS, "SIGSTOP");
    },
    end: async (run) => all(run, ACTORS, "SIGCONT"),
  },
  {
    title: "a stuck scorer",
    line: /held up at the reward workers: \d+ generated groups in hand, \d+ not taken, the oldest \d/,
    begin: async (run) => {
      await run.moment("reward-0 scores", () => isScoring(run, "reward-0"));
      all(run, ["reward-0"], "SIGSTOP");
    },
    end: async (run) => all(run, ["reward-0"], "SIGCONT"),
  },
  {
    title: "a broker that is gone",
    line: /held up at the broker: it has not answered for \d/,
    begin: async (run) => {
      await run.moment("actor-0 generates", () => isGenerating(run, "actor-0"));
      await run.broker.stop("SIGKILL");
    },
    end: (run) => run.startBroker(),
  },
];

describe.skipIf(program.absent)(`nothing moves${program.note}`, () => {
  it.each(CAUSES)("L1, D1: for $title", async ({ line, begin, end }) => {
    const said: string[] = [];
    await using run = await DisturbedRun.start({
      run: await chaosPlan(STEPS),
      natsServer: program.path,
      environment: { OARLOCK_STALL_WARN_MS: String(WARN_MS) },
      onEvent: (event) => {
        if (event.type === "stalled") said.push(event.message);
      },
    });
    await begin(run);
    await run.moment(`a line like ${String(line)}`, () => said.some((message) => line.test(message)));
    await end(run);
    await expectUndisturbed(run);
    expect(run.children().map(({ restarts }) => restarts)).toEqual([0, 0, 0, 0]);
  });
});
