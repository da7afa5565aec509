/** Calls between a trainer's owner and its worker thread. */
import type { NamedCall } from "./calls.ts";
import type {
  ForwardOptions,
  LogprobOptions,
  LogprobSource,
  PolicySnapshot,
  StateArray,
  StateFacts,
  StepOptions,
  StepResult,
  TrainerOptions,
  TrainerState,
  TrainingRow,
} from "./types.ts";

export interface StepRequest extends NamedCall {
  readonly rows: readonly TrainingRow[];
  readonly options: StepOptions;
}

export interface LogprobRequest extends NamedCall {
  readonly rows: readonly TrainingRow[];
  readonly source: LogprobSource;
  readonly options: LogprobOptions;
}

export interface ScoreRequest extends NamedCall {
  readonly rows: readonly TrainingRow[];
  readonly options: ForwardOptions;
}

export type TrainerMethods = {
  open(request: TrainerOptions): Promise<void>;
  step(request: StepRequest): Promise<StepResult>;
  logprobs(request: LogprobRequest): Promise<Float32Array[]>;
  scores(request: ScoreRequest): Promise<Float32Array[]>;
  abort(request: NamedCall): void;
  captureReference(request: undefined): Promise<void>;
  policy(request: undefined): Promise<PolicySnapshot>;
  load(request: { readonly weights: Float32Array }): void;
  stateFacts(request: undefined): Promise<StateFacts>;
  copyState(request: { readonly array: StateArray; readonly into: Float32Array }): Promise<void>;
  restore(request: TrainerState): Promise<void>;
  resetOptimizer(request: undefined): Promise<void>;
  close(request: undefined): Promise<void>;
};
