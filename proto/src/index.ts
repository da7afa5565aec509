/**
 * The only contract between processes: every message and service of `oarlock.v1`.
 *
 * The code under `gen/` is generated from `oarlock/v1/*.proto` (`npm run generate`) and never edited. This list says what
 * may be imported; how messages travel is the business of `@oarlock/rpc` and `@oarlock/bus`.
 */
export { create, fromBinary, toBinary, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
export { durationFromMs, durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
export {
  RolloutPurpose,
  GroupIdentitySchema,
  PolicyIdentitySchema,
  FingerprintSchema,
  TraceContextSchema,
  type GroupIdentity,
  type PolicyIdentity,
  type Fingerprint,
  type TraceContext,
} from "./gen/oarlock/v1/identity_pb.ts";
export { FinishReason, SamplingParamsSchema, type SamplingParams } from "./gen/oarlock/v1/sampling_pb.ts";
export {
  RewardScope,
  ScoredSchema,
  FailedSchema,
  NamedRewardSchema,
  ScorerPinSchema,
  type Scored,
  type Failed,
  type NamedReward,
  type ScorerPin,
} from "./gen/oarlock/v1/reward_result_pb.ts";
export {
  TurnRole,
  TurnSchema,
  PolicySegmentSchema,
  TokenSignalSchema,
  StartStateSchema,
  PromptSchema,
  EnvironmentSchema,
  TrajectorySchema,
  TrajectoryBatchSchema,
  type Turn,
  type PolicySegment,
  type TokenSignal,
  type StartState,
  type Prompt,
  type Environment,
  type Trajectory,
  type TrajectoryBatch,
  type OtherPlan,
} from "./gen/oarlock/v1/trajectory_pb.ts";
export { batchBytes, withRewards } from "./batch-bytes.ts";
export { misencodedField } from "./misencoded-field.ts";
export { RolloutWorkSchema, type RolloutWork } from "./gen/oarlock/v1/work_pb.ts";
export {
  PolicyKind,
  ShardEncoding,
  PolicyShardSchema,
  PolicyManifestSchema,
  PolicyPointerSchema,
  type PolicyShard,
  type PolicyManifest,
  type PolicyPointer,
} from "./gen/oarlock/v1/weights_pb.ts";
export {
  OpenWaitSchema,
  QueueStatusSchema,
  ServiceStatusSchema,
  type OpenWait,
  type QueueStatus,
  type ServiceStatus,
} from "./gen/oarlock/v1/status_pb.ts";
export { RunPhase, RunStatusSchema, type RunStatus } from "./gen/oarlock/v1/run_pb.ts";
export {
  GenerateRequestSchema,
  GenerateResponseSchema,
  TokenBatchSchema,
  GetStatusRequestSchema,
  GetStatusResponseSchema,
  DrainRequestSchema,
  DrainResponseSchema,
  ActorService,
  type GenerateRequest,
  type GenerateResponse,
  type TokenBatch,
  type GetStatusRequest,
  type GetStatusResponse,
  type DrainRequest,
  type DrainResponse,
} from "./gen/oarlock/v1/actor_pb.ts";
export {
  ScoreRequestSchema,
  ScoreResponseSchema,
  TrajectoryRewardsSchema,
  RewardServiceGetStatusRequestSchema,
  RewardServiceGetStatusResponseSchema,
  SampleTextSchema,
  ScorerSchema,
  RewardService,
  type ScoreRequest,
  type ScoreResponse,
  type TrajectoryRewards,
  type RewardServiceGetStatusRequest,
  type RewardServiceGetStatusResponse,
  type SampleText,
  type Scorer,
} from "./gen/oarlock/v1/reward_pb.ts";
export {
  GetRunStatusRequestSchema,
  GetRunStatusResponseSchema,
  StreamMetricsRequestSchema,
  StreamMetricsResponseSchema,
  PauseRequestSchema,
  PauseResponseSchema,
  ResumeRequestSchema,
  ResumeResponseSchema,
  CheckpointNowRequestSchema,
  CheckpointNowResponseSchema,
  StopRequestSchema,
  StopResponseSchema,
  LearnerService,
  type GetRunStatusRequest,
  type GetRunStatusResponse,
  type StreamMetricsRequest,
  type StreamMetricsResponse,
  type PauseRequest,
  type PauseResponse,
  type ResumeRequest,
  type ResumeResponse,
  type CheckpointNowRequest,
  type CheckpointNowResponse,
  type StopRequest,
  type StopResponse,
} from "./gen/oarlock/v1/learner_pb.ts";
