/**
 * What finished stages made, by content: the flat weights of a policy or a reward model under their SHA-256, and beside them
 * what they are and what they came from. Written whole and synced before it has its name; read back only if the digest is
 * right. The same content again is the same file.
 */
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { bytesOf } from "@oarlock/runtime";
import { makeFolder, readVerified, replaceDurably, sizeOf } from "./durable-file.ts";

export interface StageArtifact {
  /** Name of the stage. */
  readonly stage: string;
  readonly kind: "policy" | "reward-model";
  /** SHA-256 (hex) of the flat weights. */
  readonly digest: string;
  readonly elements: number;
  /** Digests of what it was made from: the weights it started with, its data, its scorers. */
  readonly parents: readonly string[];
  /** Digest of the stage's inputs: as long as it is the same, the stage need not run again. */
  readonly inputs?: string;
}

export interface StageArtifacts {
  /** Durable when it resolves. @throws OarlockError `ARTIFACT_CHANGED` where the weights are not what the digest says. */
  save(artifact: StageArtifact, weights: Float32Array, signal?: AbortSignal): Promise<void>;
  /** The verified weights. @throws OarlockError `CHECKPOINT_CORRUPT`. */
  load(artifact: StageArtifact, signal?: AbortSignal): Promise<Float32Array>;
}

/** The artifacts in `folder`, which is made when something is saved. */
export function openStageArtifacts(folder: string): StageArtifacts {
  const weightsPath = (digest: string): string => join(folder, `${digest}.f32`);
  return {
    async save(artifact, weights, signal) {
      await makeFolder(folder);
      const path = weightsPath(artifact.digest);
      if ((await sizeOf(path)) !== weights.byteLength) {
        await replaceDurably(path, bytesOf(weights), signal, ({ sha256 }) => {
          if (sha256 === artifact.digest) return;
          throw new OarlockError(
            "ARTIFACT_CHANGED",
            `${artifact.stage}: the weights have SHA-256 ${sha256}, announced was ${artifact.digest}`,
          );
        });
      }
      const facts = new TextEncoder().encode(`${JSON.stringify(artifact, null, 2)}\n`);
      await replaceDurably(join(folder, `${artifact.stage}.json`), facts, signal);
    },
    async load({ digest, elements }, signal) {
      const facts = { bytes: elements * Float32Array.BYTES_PER_ELEMENT, sha256: digest };
      return new Float32Array((await readVerified(weightsPath(digest), facts, signal)).buffer);
    },
  };
}
