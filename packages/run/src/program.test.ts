/** The stage machine: every run, whatever its shape, does each thing once and in order. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { START, advance, generates, isPolicyServed, nextAction, samples, totalSteps } from "./program.ts";
import type { Action, Position, Program } from "./program.ts";

const programs: fc.Arbitrary<Program> = fc.record(
  {
    stages: fc.array(
      fc.record({
        name: fc.constantFrom("a", "b"),
        type: fc.constantFrom("sft" as const, "grpo" as const, "ppo" as const),
        steps: fc.integer({ min: 1, max: 12 }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    evaluation: fc.record({ every: fc.integer({ min: 0, max: 5 }) }),
    checkpointEvery: fc.integer({ min: 0, max: 5 }),
  },
  { requiredKeys: ["stages", "checkpointEvery"] },
);

const sft = { name: "s", type: "sft", steps: 2 } as const;

function runAll(program: Program, from: Position = START): { action: Action; at: Position }[] {
  const done: { action: Action; at: Position }[] = [];
  let at = from;
  for (let i = 0; i < 1000; i++) {
    const action = nextAction(program, at);
    if (action.type === "done") return done;
    done.push({ action, at });
    at = advance(at, action);
  }
  throw new Error("the program does not end");
}

describe("program", () => {
  test("trains every step of every stage once, in order", () => {
    fc.assert(
      fc.property(programs, (program) => {
        const trained = runAll(program).flatMap(({ action }) =>
          action.type === "train" ? [[action.stage, action.step]] : [],
        );
        const expected = program.stages.flatMap((stage, s) =>
          Array.from({ length: stage.steps }, (_, step) => [s, step]),
        );
        expect(trained).toEqual(expected);
        expect(trained).toHaveLength(totalSteps(program));
      }),
    );
  });

  test("goes on to the next stage, evaluated and saved, where a stage is ended early", () => {
    const stages = [
      { name: "a", type: "ppo", steps: 9 },
      { name: "b", type: "sft", steps: 1 },
    ] as const;
    const program: Program = { stages, evaluation: { every: 0 }, checkpointEvery: 0 };
    const from: Position = { ...START, begun: true, step: 2, policy: 2, evaluatedPolicy: 0, ended: true };
    expect(runAll(program, from).map(({ action }) => action)).toEqual([
      { type: "evaluate", stage: 0, step: 2, when: "after" },
      { type: "checkpoint" },
      { type: "finish-stage", stage: 0 },
      { type: "begin-stage", stage: 1 },
      { type: "train", stage: 1, step: 0 },
      { type: "evaluate", stage: 1, step: 1, when: "after" },
      { type: "checkpoint" },
      { type: "finish-stage", stage: 1 },
    ]);
  });

  test("evaluates each policy at most once, and every policy at a stage's border", () => {
    fc.assert(
      fc.property(programs, (program) => {
        const evaluated = runAll(program).flatMap(({ action, at }) =>
          action.type === "evaluate" ? [at.policy] : [],
        );
        expect(new Set(evaluated).size).toBe(evaluated.length);
        const borders = [0];
        for (const stage of program.stages) borders.push((borders.at(-1) ?? 0) + stage.steps);
        const wanted = program.evaluation === undefined ? [] : borders;
        expect(evaluated).toEqual(expect.arrayContaining(wanted));
        expect(program.evaluation === undefined ? evaluated : []).toEqual([]);
      }),
    );
  });

  test("T3: from any position, also through JSON, the rest is the same", () => {
    fc.assert(
      fc.property(programs, fc.nat(), (program, pick) => {
        const all = runAll(program);
        const cut = pick % all.length;
        const saved = JSON.parse(JSON.stringify(all[cut]!.at)) as Position;
        expect(runAll(program, saved).map(({ action }) => action)).toEqual(
          all.slice(cut).map(({ action }) => action),
        );
      }),
    );
  });

  test("a checkpoint follows the evaluation of its step, and every stage ends with one", () => {
    const program: Program = {
      stages: [{ name: "g", type: "grpo", steps: 4 }],
      evaluation: { every: 2 },
      checkpointEvery: 2,
    };
    expect(runAll(program).map(({ action }) => action.type)).toEqual(
      [
        "begin-stage evaluate train train evaluate checkpoint".split(" "),
        "train train evaluate checkpoint finish-stage".split(" "),
      ].flat(),
    );
  });

  test("a reward model is judged once, when it is done, whether or not policies are evaluated", () => {
    for (const evaluation of [undefined, { every: 1 }]) {
      const program: Program = {
        stages: [
          { name: "r", type: "reward-model", steps: 3 },
          { name: "p", type: "ppo", steps: 1 },
        ],
        ...(evaluation && { evaluation }),
        checkpointEvery: 2,
      };
      const judged = runAll(program).filter(({ action }) => action.type === "evaluate" && action.stage === 0);
      expect(judged.map(({ action }) => action)).toEqual([
        { type: "evaluate", stage: 0, step: 3, when: "after" },
      ]);
      const actions = runAll(program).map(({ action }) => action.type);
      expect(actions.slice(0, 8)).toEqual(
        "begin-stage train train checkpoint train evaluate checkpoint finish-stage".split(" "),
      );
    }
  });

  test.each([
    ["before the stage after a reward model, where the run begins with that", [], true],
    ["once, where a stage before the reward model left it evaluated", [sft], false],
  ])("the policy is evaluated %s", (_, earlier, isEvaluated) => {
    const stages = [
      ...earlier,
      { name: "r", type: "reward-model", steps: 3 },
      { name: "p", type: "ppo", steps: 1 },
    ] as const;
    const program: Program = { stages, evaluation: { every: 0 }, checkpointEvery: 0 };
    const last = runAll(program).filter(
      ({ action }) => "stage" in action && action.stage === stages.length - 1,
    );
    expect(last.map(({ action }) => action.type)).toEqual([
      "begin-stage",
      ...(isEvaluated ? ["evaluate"] : []),
      ..."train evaluate finish-stage".split(" "),
    ]);
  });

  test("the policy is served at a reward model's end where the next stage goes on from it", () => {
    const stages = (restarts: boolean): Program => ({
      stages: [
        { name: "r", type: "reward-model", steps: 2 },
        { name: "p", type: "ppo", steps: 1, restarts },
      ],
      evaluation: { every: 1 },
      checkpointEvery: 0,
    });
    const served = (restarts: boolean) =>
      [0, 1, 2].map((step) => isPolicyServed(stages(restarts), { ...START, step, begun: true }));
    expect(served(false)).toEqual([false, false, true]);
    expect(served(true)).toEqual([false, false, false]);
  });

  test("a stage generates for its steps, or for the evaluations of the policy that it trains", () => {
    const judge = { name: "j", type: "reward-model", steps: 2 } as const;
    fc.assert(
      fc.property(programs, (given) => {
        const program = { ...given, stages: [judge, ...given.stages] };
        const actions = runAll(program).map(({ action }) => action);
        program.stages.forEach(({ type }, stage) => {
          const evaluated = actions.some((action) => action.type === "evaluate" && action.stage === stage);
          const expected = samples(type) || (evaluated && type !== "reward-model");
          expect(generates(type, program.evaluation)).toBe(expected);
        });
      }),
    );
  });

  test("a supervised stage serves only the policies that someone generates from", () => {
    const program: Program = {
      stages: [
        { name: "s", type: "sft", steps: 3 },
        { name: "g", type: "grpo", steps: 2 },
      ],
      checkpointEvery: 0,
    };
    const served = (step: number) => isPolicyServed(program, { ...START, step, begun: true });
    expect([0, 1, 2, 3].map(served)).toEqual([false, false, false, true]);
    expect(isPolicyServed(program, { ...START, stage: 1, step: 1 })).toBe(true);
    expect(isPolicyServed({ ...program, evaluation: { every: 2 } }, { ...START, step: 2 })).toBe(true);
  });
});
