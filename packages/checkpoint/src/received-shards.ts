/**
 * Shards that a reader has already: of the version that it took last, and of one whose transfer broke off. They are not asked
 * for again. Nothing is trusted: whoever uses them verifies the whole (W2). What was taken belongs to its taker, so it is
 * held weakly; what broke off belongs to nobody else, and is held until something arrives whole (Q1).
 */
import type { Shard } from "./policy-manifest.ts";

type Weights = Float32Array<SharedArrayBuffer>;

export interface ReceivedShards {
  /** The elements of a shard of this digest, if they are here. */
  find(shard: Shard): Weights | undefined;
  /** A version arrived whole. */
  whole(weights: Weights, shards: readonly Shard[]): void;
  /** A transfer broke off after these shards. */
  broken(weights: Weights, shards: readonly Shard[]): void;
  /** What was found was not what its digest says. */
  forget(): void;
}

interface Received {
  readonly weights: () => Weights | undefined;
  readonly shards: ReadonlyMap<string, Shard>;
}

/** Of a reader that has nothing. */
export function createReceivedShards(): ReceivedShards {
  let last: Received | undefined;
  let part: Received | undefined;
  const among = (received: Received | undefined, wanted: Shard): Weights | undefined => {
    const shard = received?.shards.get(wanted.digest);
    if (shard === undefined || shard.elements !== wanted.elements) return undefined;
    return received?.weights()?.subarray(shard.offset, shard.offset + shard.elements);
  };
  const byDigest = (shards: readonly Shard[]): ReadonlyMap<string, Shard> =>
    new Map(shards.map((shard) => [shard.digest, shard]));
  return {
    find: (shard) => among(part, shard) ?? among(last, shard),
    whole(weights, shards) {
      const held = new WeakRef(weights);
      last = { weights: () => held.deref(), shards: byDigest(shards) };
      part = undefined;
    },
    broken(weights, shards) {
      part = { weights: () => weights, shards: byDigest(shards) };
    },
    forget() {
      last = undefined;
      part = undefined;
    },
  };
}
