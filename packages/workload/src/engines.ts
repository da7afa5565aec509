/** Engines, generator and policy store of a run: all of it from the plan (D1), the same in every process. */
import { OarlockError } from "@oarlock/errors";
import { openPolicyStore } from "@oarlock/checkpoint";
import type { PolicyStore } from "@oarlock/checkpoint";
import type { Bus } from "@oarlock/bus";
import { createGenerator } from "@oarlock/generation";
import type { Generator } from "@oarlock/generation";
import { parameterLayout, withScoreHead } from "@oarlock/nn";
import type { LlamaConfig } from "@oarlock/nn";
import { openOrt } from "@oarlock/ort";
import type { OpenOrtOptions } from "@oarlock/ort";
import { canonicalJson, laggingVersions, longestGenerated, referenceBy, valuesBy } from "@oarlock/runfile";
import type { ResolvedRun } from "@oarlock/runfile";
import { sha256Hex } from "@oarlock/runtime";
import { createCompletionModel, createTrainer } from "@oarlock/training";
import type { CompletionModel, Trainer, TrainerOptions } from "@oarlock/training";
import type { OpenedModel } from "./model.ts";

/** Versions that the store holds at a time: those that lag needs, one being published, one being fetched. */
const SPARE_VERSIONS = 4;
/** Manifests and what the store keeps of each chunk. */
const VERSION_OVERHEAD_BYTES = 1024 * 1024;

/** How every engine of the run is opened. */
export function engineOf(run: ResolvedRun, threads: number): OpenOrtOptions {
  const { driver, provider, optimizationLevel, libraryPath } = run.spec.compute;
  return {
    driver,
    provider,
    threads,
    optimization: optimizationLevel,
    ...(libraryPath === "" ? {} : { library: libraryPath }),
  };
}

/** The longest sequence that any work of the plan can make: no memory for longer ones is held. */
function longestSequence({ spec, inputs }: ResolvedRun): number {
  return Math.min(inputs.model.shape.maxPositions, Math.max(2, longestGenerated(spec)));
}

/**
 * D1b: another engine or instruction set computes other bits. @throws OarlockError `ENGINE_MISMATCH` where the plan was made
 * with another one; a plan that names none is not held to any.
 */
async function requireEngine(run: ResolvedRun): Promise<void> {
  const { onnxruntime, instructionSet } = run.inputs.engine;
  if (onnxruntime === "" && instructionSet === "") return;
  const engine = await openOrt(engineOf(run, 1));
  const { fingerprint } = engine;
  await engine.close();
  if (fingerprint.version === onnxruntime && fingerprint.instructionSet === instructionSet) return;
  throw new OarlockError(
    "ENGINE_MISMATCH",
    `this machine has ONNX Runtime ${fingerprint.version} on ${fingerprint.instructionSet}, the plan was made with ` +
      `${onnxruntime} on ${instructionSet}: use machines of one kind, or make a new plan`,
  );
}

/** The generator of one actor. */
export async function openRunGenerator(run: ResolvedRun, config: LlamaConfig): Promise<Generator> {
  await requireEngine(run);
  const { slots, generationWorkers, generationThreads, generationLayout } = run.spec.compute;
  const { threads: _, ...ort } = engineOf(run, generationThreads);
  return createGenerator({
    config,
    slots,
    workers: generationWorkers,
    threads: generationThreads,
    layout: generationLayout,
    maxLength: longestSequence(run),
    ort,
  });
}

/** A model beside the policy in an actor, by its head a reference or a critic: one thread, as a trainer's lane has, for its bits. */
export function openRunCompanion(
  run: ResolvedRun,
  config: LlamaConfig,
  weights: Float32Array,
): Promise<CompletionModel> {
  return createCompletionModel({ config, weights, ort: engineOf(run, 1) });
}

/**
 * How a trainer is opened: a lane for each training thread, which is faster than several threads on every operation (they
 * share the micro-batches of a step), and changes bits, so the plan says how many (D1).
 */
export function trainingEngine(run: ResolvedRun): Required<Pick<TrainerOptions, "lanes" | "ort">> {
  return { lanes: run.spec.compute.trainingThreads, ort: engineOf(run, 1) };
}

/** The learner's trainer, on the model's initial weights. */
export async function openRunTrainer(run: ResolvedRun, model: OpenedModel): Promise<Trainer> {
  await requireEngine(run);
  return createTrainer({
    config: model.config,
    weights: await model.weights(),
    ...trainingEngine(run),
  });
}

export interface RunPolicyOptions {
  readonly bus: Bus;
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly config: LlamaConfig;
  /** Of the learner that publishes; 0 for readers. */
  readonly incarnation: number;
}

/** The run's policy versions on the bus. */
export function openRunPolicies(options: RunPolicyOptions): Promise<PolicyStore> {
  const references = options.run.spec.stages.some((stage) => referenceBy(stage) === "actors") ? 1 : 0;
  return openVersions(options, references);
}

/** Whether actors of the run compute values. */
export const hasCriticsInActors = (run: ResolvedRun): boolean =>
  run.spec.stages.some((stage) => valuesBy(stage) === "actors");

/** The critics that go with the policy versions, where actors compute values: a store like the policy's. */
export function openRunCritics(options: RunPolicyOptions): Promise<PolicyStore> {
  return openVersions({ ...options, uid: `${options.uid}_critic`, config: withScoreHead(options.config) });
}

/** A store with room for the versions that lag needs, and for as many besides. */
function openVersions(
  { bus, run, uid, config, incarnation }: RunPolicyOptions,
  besides = 0,
): Promise<PolicyStore> {
  const versions = laggingVersions(run.spec.pipeline) + besides + SPARE_VERSIONS;
  const bytes = parameterLayout(config).length * Float32Array.BYTES_PER_ELEMENT;
  return openPolicyStore({
    bus,
    uid,
    incarnation,
    configDigest: sha256Hex(canonicalJson(config)),
    maxBytes: versions * (bytes + VERSION_OVERHEAD_BYTES),
    fingerprintDigest: run.digest,
  });
}
