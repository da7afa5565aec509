/** Versioned weights on the bus, and run checkpoints on disk. */
export type {
  CheckpointArray,
  CheckpointContent,
  CheckpointInfo,
  DeferredArray,
  LoadedCheckpoint,
  PolicyAnnouncement,
  PolicySnapshot,
  PolicyStore,
  PolicyVersion,
  RunCheckpoints,
  RunCheckpointsOptions,
} from "./types.ts";
export { openPolicyStore, type PolicyStoreOptions } from "./policy-store.ts";
export {
  listCheckpoints,
  openRunCheckpoints,
  readCheckpoint,
  readNewestCheckpoint,
} from "./run-checkpoints.ts";
export { asDiskError, replaceDurably, syncFolder } from "./durable-file.ts";
export { fetchKeptFolder, openKeptFolder, type KeptFolder, type KeptFolderOptions } from "./kept-folder.ts";
export { openKeptCheckpoints } from "./kept-checkpoints.ts";
export { openStageArtifacts } from "./stage-artifacts.ts";
export type { StageArtifact, StageArtifacts } from "./stage-artifacts.ts";
