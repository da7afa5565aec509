export { batchKey, groupKey, isSamePolicy } from "./identity.ts";
export type { BatchName, GroupIdentity, PolicyVersion, WorkPurpose } from "./identity.ts";
export { issueLimit, oldestPolicyNeeded, policyNumberOfStep } from "./lockstep.ts";
export type { LockstepPlan } from "./lockstep.ts";
export { conduct, createConductor, groupsOut, readyBatch, rolloutGroupsInFlight } from "./conductor.ts";
export type {
  ConductorEffect,
  ConductorEvent,
  ConductorOptions,
  ConductorState,
  RolloutPlan,
  TimedEvent,
  WorkItem,
} from "./conductor.ts";
export { GROUP_DROP_REASONS, groupsDropped } from "./ledger.ts";
export type { GroupDropReason, Ledger } from "./ledger.ts";
export { streamCursor } from "./stream.ts";
export type { StreamCursor, StreamPlan } from "./stream.ts";
export type { BatchState, GroupState, SampleStatus, SampleVerdict } from "./batch.ts";
export { DROP_REASONS } from "./admission.ts";
export type { DropReason, ScoredHead } from "./admission.ts";
export {
  START,
  advance,
  evaluationMoment,
  generates,
  isPolicyServed,
  isTrained,
  nextAction,
  samples,
  totalSteps,
} from "./program.ts";
export type { Action, EvaluationMoment, Position, Program, ProgramStage, StageType } from "./program.ts";
export { describeOtherPlans, hearOtherPlan } from "./other-plans.ts";
export type { OtherPlanHeard, OtherPlans } from "./other-plans.ts";
export { describeWaits, idleMs, openWaits } from "./stall.ts";
export type { BatchWait } from "./stall.ts";
export { isGood, watchGuards } from "./guards.ts";
export type { Alarm, GuardState, GuardWatch } from "./guards.ts";
export type { Transition } from "./transition.ts";
export { ACK_WAIT_MS, evaluationWindow, groupsInFlightBound, topologyOf } from "./topology.ts";
export type { ConsumerTopology, RunTopology, StreamTopology, TopologyNames } from "./topology.ts";
export { rolloutPurpose, workPurpose } from "./work-purpose.ts";
export { runPhase, runPhaseName } from "./run-phase.ts";
export type { RunPhaseName } from "./run-phase.ts";
export { serviceStatus } from "./service-status.ts";
export type { DeviceFacts, ServiceFacts } from "./service-status.ts";
