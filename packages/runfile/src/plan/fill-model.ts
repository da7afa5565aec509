/** Fills the defaults of `model`, `pipeline`, `compute`, `checkpoints` and `output`: none depends on the machine (D1). */
import type {
  ResolvedCompute,
  ResolvedCorrection,
  ResolvedModel,
  ResolvedModelInit,
  ResolvedSpec,
  ResolvedTokenizer,
} from "../resolved.ts";
import type { CorrectionSpec, ModelInitSpec, ModelSpec, RunSpec, TokenizerSpec } from "../run-file.ts";
import type { CorrectionLevel } from "../vocabulary.ts";
import type { Scope } from "./origins.ts";

export function fillModel(model: ModelSpec, at: Scope): ResolvedModel {
  if (model.init === undefined) return { from: at.given("from", model.from) };
  return { init: fillInit(model.init, at.inside("init")) };
}

function fillInit(init: ModelInitSpec, at: Scope): ResolvedModelInit {
  const hiddenSize = at.given("hiddenSize", init.hiddenSize);
  const heads = at.given("heads", init.heads);
  const headSize = Math.max(1, Math.floor(hiddenSize / heads));
  return {
    architecture: at.fill("architecture", init.architecture, "llama"),
    hiddenSize,
    intermediateSize: at.given("intermediateSize", init.intermediateSize),
    layers: at.given("layers", init.layers),
    heads,
    kvHeads: at.derive("kvHeads", init.kvHeads, heads, "heads"),
    headSize: at.derive("headSize", init.headSize, headSize, "hiddenSize / heads"),
    maxPositions: at.given("maxPositions", init.maxPositions),
    ropeTheta: at.fill("ropeTheta", init.ropeTheta, 10_000),
    ropeConvention: at.fill("ropeConvention", init.ropeConvention, "half-split"),
    rmsNormEps: at.fill("rmsNormEps", init.rmsNormEps, 1e-5),
    tiedEmbeddings: at.fill("tiedEmbeddings", init.tiedEmbeddings, true),
    qkvBias: at.fill("qkvBias", init.qkvBias, false),
    qkNorm: at.fill("qkNorm", init.qkNorm, false),
    tokenizer: fillTokenizer(init.tokenizer, at.inside("tokenizer")),
  };
}

function fillTokenizer(tokenizer: TokenizerSpec, at: Scope): ResolvedTokenizer {
  const type = at.given("type", tokenizer.type);
  if (type === "characters") {
    const alphabet = at.inside("characters").given("alphabet", tokenizer.characters?.alphabet);
    return { type, characters: { alphabet } };
  }
  return { type, file: { path: at.inside("file").given("path", tokenizer.file?.path) } };
}

export function fillPipeline(pipeline: RunSpec["pipeline"], at: Scope): ResolvedSpec["pipeline"] {
  const mode = at.fill("mode", pipeline?.mode, "lockstep");
  if (mode === "lockstep") return { mode, lag: at.fill("lag", pipeline?.lag, 1) };
  return {
    mode,
    maxStaleness: at.fill("maxStaleness", pipeline?.maxStaleness, 4),
    correction: fillCorrection(pipeline?.correction, at.inside("correction")),
  };
}

/** Ratios are truncated at 2; a mask leaves out what is more than 2 below or 5 above (IcePop). */
const RATIO_BOUNDS: { readonly [L in CorrectionLevel]: readonly [number, number] } = {
  none: [0, 1],
  token: [0, 2],
  sequence: [0, 2],
  "token-mask": [0.5, 5],
};

function fillCorrection(given: CorrectionSpec | undefined, at: Scope): ResolvedCorrection {
  const level = at.fill("level", given?.level, "token");
  const [minRatio, maxRatio] = RATIO_BOUNDS[level];
  return {
    level,
    minRatio: at.derive("minRatio", given?.minRatio, minRatio, "the level"),
    maxRatio: at.derive("maxRatio", given?.maxRatio, maxRatio, "the level"),
  };
}

export function fillCompute(given: RunSpec["compute"], at: Scope): ResolvedCompute {
  const compute = given ?? {};
  return {
    provider: at.fill("provider", compute.provider, "cpu"),
    driver: at.fill("driver", compute.driver, "native"),
    libraryPath: at.fill("libraryPath", compute.libraryPath, ""),
    precision: at.fill("precision", compute.precision, "float32"),
    optimizationLevel: at.fill("optimizationLevel", compute.optimizationLevel, "all"),
    generationLayout: at.fill("generationLayout", compute.generationLayout, "inputs"),
    generationThreads: at.fill("generationThreads", compute.generationThreads, 1),
    generationWorkers: at.fill("generationWorkers", compute.generationWorkers, 2),
    trainingThreads: at.fill("trainingThreads", compute.trainingThreads, 2),
    actors: at.fill("actors", compute.actors, 1),
    rewardWorkers: at.fill("rewardWorkers", compute.rewardWorkers, 1),
    slots: at.fill("slots", compute.slots, 64),
  };
}

export function fillCheckpoints(checkpoints: RunSpec["checkpoints"], at: Scope): ResolvedSpec["checkpoints"] {
  return { every: at.fill("every", checkpoints?.every, 50), keep: at.fill("keep", checkpoints?.keep, 2) };
}

export function fillOutput(output: RunSpec["output"], at: Scope): ResolvedSpec["output"] {
  return {
    samplesPerStep: at.fill("samplesPerStep", output?.samplesPerStep, 4),
    tensorboard: at.fill("tensorboard", output?.tensorboard, true),
  };
}
