/**
 * A policy that answers: a model with its tokenizer behind one generator. What chat and eval have in common; training
 * has its own way. Owns the generator.
 */
import {
  type Completion,
  createGenerator,
  type SamplingParams,
  type WeightLayout,
} from "@oarlock/generation";
import type { Purpose } from "@oarlock/rl";
import type { ResolvedCompute } from "@oarlock/runfile";
import { bytesOf, sha256Hex } from "@oarlock/runtime";
import type { Tokenizer } from "@oarlock/tokenizer";
import type { OpenedModel } from "@oarlock/workload";

export interface PolicyOptions {
  readonly compute: Pick<ResolvedCompute, "provider" | "driver" | "libraryPath" | "optimizationLevel">;
  /** Sequences decoded at a time. */
  readonly slots: number;
  readonly workers: number;
  /** Threads of each worker, and how its weights are held: they decide bits (D1). Default: the generator's. */
  readonly threads?: number;
  readonly layout?: WeightLayout;
  /** Tokens of a sequence at most, prompt included. */
  readonly maxLength: number;
}

export interface Draw {
  readonly prompt: Int32Array;
  readonly params: Omit<SamplingParams, "stopTokens">;
  /** How many completions. */
  readonly samples: number;
  /** Where the randomness comes from (D2). */
  readonly seed: number;
  readonly purpose: Purpose;
  /** Default 0. */
  readonly stage?: number;
  /** Default 0. */
  readonly step?: number;
  readonly group: number;
}

export interface Policy extends AsyncDisposable {
  readonly tokenizer: Tokenizer;
  readonly maxLength: number;
  /** Completions of one prompt, in the order of their number. */
  complete(draw: Draw, signal?: AbortSignal): Promise<readonly Completion[]>;
  /** The text of a completion, without special tokens. */
  textOf(completion: Completion): string;
}

/** Loads the weights into a generator. */
export async function openPolicy(model: OpenedModel, options: PolicyOptions): Promise<Policy> {
  const { provider, driver, libraryPath, optimizationLevel } = options.compute;
  const generator = await createGenerator({
    config: model.config,
    slots: options.slots,
    workers: options.workers,
    ...(options.threads === undefined ? {} : { threads: options.threads }),
    ...(options.layout === undefined ? {} : { layout: options.layout }),
    maxLength: options.maxLength,
    ort: {
      provider,
      driver,
      optimization: optimizationLevel,
      ...(libraryPath === "" ? {} : { library: libraryPath }),
    },
  });
  try {
    const weights = await model.weights();
    await generator.load(weights, { number: 0, digest: sha256Hex(bytesOf(weights)) });
  } catch (reason) {
    await generator.close();
    throw reason;
  }
  let requests = 0;
  return {
    tokenizer: model.tokenizer,
    maxLength: options.maxLength,
    complete({ prompt, params, samples, seed, purpose, stage = 0, step = 0, group }, signal) {
      const key = { seed, purpose, stage, step, group, draw: 0 };
      const request = {
        id: `request-${requests++}`,
        prompt,
        samples: Array.from({ length: samples }, (_, sample) => ({ ...key, sample })),
        params: { ...params, stopTokens: model.stopTokens },
      };
      return generator.submit(request, signal);
    },
    textOf: ({ tokens }) => model.tokenizer.decode(tokens, { skipSpecialTokens: true }),
    [Symbol.asyncDispose]: () => generator.close(),
  };
}

/** The compute settings of commands that have no run file. */
export const DEFAULT_COMPUTE: PolicyOptions["compute"] = {
  provider: "cpu",
  driver: "native",
  libraryPath: "",
  optimizationLevel: "all",
};
