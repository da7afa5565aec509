/**
 * Reward models between learner and reward workers: a store on the bus for each one of the run, like the policy's. The
 * learner publishes into it, workers read from it, wherever they run.
 */
import type { Bus } from "@oarlock/bus";
import { openPolicyStore } from "@oarlock/checkpoint";
import type { PolicyStore } from "@oarlock/checkpoint";
import { type LlamaConfig, parameterLayout, withScoreHead } from "@oarlock/nn";
import { canonicalJson } from "@oarlock/runfile";
import { sha256Hex } from "@oarlock/runtime";

/** One version and its successor after a restart, with their manifests. */
const HELD_VERSIONS = 3;
const MANIFEST_BYTES = 1024 * 1024;

export interface RewardModelStoreOptions {
  readonly bus: Bus;
  readonly uid: string;
  /** As `scorerNumber` counts the reward models of a run. */
  readonly number: number;
  /** Of the reward model, whatever its head. */
  readonly config: LlamaConfig;
  /** Of the learner that publishes; 0 for readers. */
  readonly incarnation: number;
}

/** Opens the store of one stage's reward model. */
export function openRewardModelStore(options: RewardModelStoreOptions): Promise<PolicyStore> {
  const { bus, uid, number, incarnation } = options;
  const config = withScoreHead(options.config);
  const bytes = parameterLayout(config).length * Float32Array.BYTES_PER_ELEMENT;
  return openPolicyStore({
    bus,
    uid: `${uid}_m${number}`,
    incarnation,
    configDigest: sha256Hex(canonicalJson(config)),
    maxBytes: HELD_VERSIONS * (bytes + MANIFEST_BYTES),
  });
}
