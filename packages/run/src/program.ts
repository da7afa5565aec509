/**
 * The stage machine: what a run does next, given where it is. Stages in order; evaluation before and after each stage
 * and every N steps, at the policy of that moment; checkpoints every N steps and at the end of each stage.
 *
 * Position is plain JSON and goes into the checkpoint manifest (T3). Nothing here knows how any of it is done.
 */

/** `sft` and `reward-model` learn from data, `grpo` and `ppo` from what the policy samples. */
export type StageType = "sft" | "reward-model" | "grpo" | "ppo";

/** Whether actors sample for stages of a kind. */
export function samples(type: StageType): boolean {
  return type === "grpo" || type === "ppo";
}

/** Whether actors generate while a stage runs: for its steps, or for evaluations, which are of the policy and of no reward model. */
export function generates(type: StageType, evaluation: object | undefined): boolean {
  return samples(type) || (evaluation !== undefined && type !== "reward-model");
}

export interface ProgramStage {
  readonly name: string;
  readonly type: StageType;
  /** Versions that the stage makes, of the policy or of a reward model. */
  readonly steps: number;
  /** Whether the stage starts from a policy that is not the one before it. Default false. */
  readonly restarts?: boolean;
}

export interface Program {
  readonly stages: readonly ProgramStage[];
  /** Absent: the run does not evaluate. `every` 0: only before and after each stage. */
  readonly evaluation?: { readonly every: number };
  /** 0: only at the end of each stage. */
  readonly checkpointEvery: number;
}

/** Where a run is: between two actions. */
export interface Position {
  /** Index of the stage; `stages.length` when all are done. */
  readonly stage: number;
  /** Steps of the stage that are trained. */
  readonly step: number;
  /** Number of the current policy: steps trained in all stages. */
  readonly policy: number;
  /** Whether the stage's trainer stands: its reference policy is the policy at the stage's start. */
  readonly begun: boolean;
  /** Whether a guard or an evaluation ended the stage before its last step. */
  readonly ended?: boolean;
  /** Number of the policy last evaluated, −1 for none. */
  readonly evaluatedPolicy: number;
  /** Number of the policy last checkpointed, −1 for none. */
  readonly checkpointedPolicy: number;
}

export type EvaluationMoment = "before" | "step" | "after";

export type Action =
  | { readonly type: "begin-stage"; readonly stage: number }
  | {
      readonly type: "evaluate";
      readonly stage: number;
      readonly step: number;
      readonly when: EvaluationMoment;
    }
  | { readonly type: "train"; readonly stage: number; readonly step: number }
  | { readonly type: "checkpoint" }
  | {
      readonly type: "finish-stage";
      readonly stage: number;
      /** All that was evaluated so far are reward models: the policy that the next stage begins with is not. */
      readonly policyUnseen?: boolean;
    }
  | { readonly type: "done" };

/** The beginning of every run. */
export const START: Position = {
  stage: 0,
  step: 0,
  policy: 0,
  begun: false,
  evaluatedPolicy: -1,
  checkpointedPolicy: -1,
};

/** What to do at `position`. Evaluation comes before the checkpoint, so that a resume repeats no evaluation. */
export function nextAction(program: Program, position: Position): Action {
  const stage = program.stages[position.stage];
  if (stage === undefined) return { type: "done" };
  if (!position.begun) return { type: "begin-stage", stage: position.stage };
  const moment = evaluationMoment(program, stage, position);
  if (moment !== undefined && position.evaluatedPolicy !== position.policy) {
    return { type: "evaluate", stage: position.stage, step: position.step, when: moment };
  }
  if (isCheckpointDue(program, stage, position)) return { type: "checkpoint" };
  if (isTrained(stage, position)) {
    const policyUnseen = program.stages
      .slice(0, position.stage + 1)
      .every(({ type }) => type === "reward-model");
    return { type: "finish-stage", stage: position.stage, ...(policyUnseen && { policyUnseen }) };
  }
  return { type: "train", stage: position.stage, step: position.step };
}

/** Whether no step of the stage is left to train. */
export function isTrained(
  { steps }: Pick<ProgramStage, "steps">,
  { step, ended = false }: Pick<Position, "step" | "ended">,
): boolean {
  return ended || step >= steps;
}

/** The position after `action` was done. */
export function advance(position: Position, action: Action): Position {
  // The function's parameter is the action of its own name: the index ties them, which the checker cannot follow.
  const after = transitions[action.type] as (at: Position, action: Action) => Position;
  return after(position, action);
}

type Transitions = {
  readonly [Type in Action["type"]]: (at: Position, action: Extract<Action, { type: Type }>) => Position;
};

const transitions: Transitions = {
  "begin-stage": (at) => ({ ...at, begun: true }),
  evaluate: (at) => ({ ...at, evaluatedPolicy: at.policy }),
  train: (at) => ({ ...at, step: at.step + 1, policy: at.policy + 1 }),
  checkpoint: (at) => ({ ...at, checkpointedPolicy: at.policy }),
  "finish-stage"(at, { policyUnseen = false }) {
    const { ended: _, ...rest } = at;
    const next = { ...rest, stage: at.stage + 1, step: 0, begun: false };
    return policyUnseen ? { ...next, evaluatedPolicy: START.evaluatedPolicy } : next;
  },
  done: (at) => at,
};

/**
 * Which evaluation the schedule wants at `position`, done or not. A reward model is always evaluated, on held-out pairs, and
 * only when it is done: the policy does not change meanwhile.
 */
export function evaluationMoment(
  program: Program,
  stage: ProgramStage,
  position: Pick<Position, "step" | "ended">,
): EvaluationMoment | undefined {
  if (stage.type === "reward-model") return isTrained(stage, position) ? "after" : undefined;
  if (program.evaluation === undefined) return undefined;
  if (position.step === 0) return "before";
  if (isTrained(stage, position)) return "after";
  const { every } = program.evaluation;
  return every > 0 && position.step % every === 0 ? "step" : undefined;
}

function isCheckpointDue(program: Program, stage: ProgramStage, position: Position): boolean {
  if (position.step === 0 || position.checkpointedPolicy === position.policy) return false;
  if (isTrained(stage, position)) return true;
  return program.checkpointEvery > 0 && position.step % program.checkpointEvery === 0;
}

/** Whether actors will need the policy that stands at `position`: it is generated from, or evaluated. */
export function isPolicyServed(program: Program, position: Position): boolean {
  const stage = program.stages[position.stage];
  if (stage === undefined) return false;
  if (samples(stage.type)) return true;
  if (stage.type !== "reward-model" && evaluationMoment(program, stage, position) !== undefined) return true;
  const next = program.stages[position.stage + 1];
  return isTrained(stage, position) && next !== undefined && samples(next.type) && next.restarts !== true;
}

/** Steps of all stages. */
export function totalSteps(program: Program): number {
  return program.stages.reduce((sum, stage) => sum + stage.steps, 0);
}
