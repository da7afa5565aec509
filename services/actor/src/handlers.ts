/** The actor's gRPC API: thin, typed by the contract. It checks requests and knows nothing of how tokens are made. */
import { OarlockError } from "@oarlock/errors";
import type { Completion, Generator, TokenProgress } from "@oarlock/generation";
import type { ActorService, FinishReason, GenerateRequest, GenerateResponse } from "@oarlock/proto";
import type { ServiceImpl } from "@oarlock/rpc";
import { serviceStatus } from "@oarlock/run";
import type { PolicyVersion } from "@oarlock/run";
import type { CommonFacts } from "@oarlock/workload";
import { BoundedQueue } from "@oarlock/runtime";
import type { Actor } from "./actor.ts";
import { actorNumbers, actorQueues } from "./metrics.ts";
import { FINISH_REASONS, samplingOf } from "./work.ts";

const DEFAULT_GRACE_MS = 10_000;
/** Samples of one call; more are a batch job, which goes over the bus. */
const MAX_SAMPLES = 1_024;

export interface HandlerParts {
  readonly actor: Actor;
  readonly generator: Pick<Generator, "stats">;
  /** What the service knows of itself, besides its queues. */
  readonly facts: () => CommonFacts;
  /** Numbers the requests of this process, for ids. */
  readonly nextRequest: () => number;
}

/** The handlers of `ActorService`. */
export function actorHandlers(parts: HandlerParts): ServiceImpl<typeof ActorService> {
  const { actor, generator, facts, nextRequest } = parts;
  return {
    async *generate(request, { signal }) {
      const sampling = checked(request);
      const policy = request.policy && { number: request.policy.version, digest: request.policy.digest };
      const samples = Array.from({ length: request.samples }, (_, sample) => ({
        seed: Number(request.seed),
        purpose: "evaluation" as const,
        stage: 0,
        step: 0,
        group: 0,
        draw: 0,
        sample,
      }));
      const prompt = Int32Array.from(request.promptTokens);
      const id = `rpc/${nextRequest()}`;
      // As many batches as there can be tokens: a listener cannot wait (Q1).
      const capacity = request.samples * (sampling.maxNewTokens + 1);
      const drawn = new BoundedQueue<TokenProgress>(`tokens of ${id}`, capacity);
      const order = { id, prompt, samples, params: sampling };
      // What the generator had sent before it heard of an abort comes after the end.
      const onProgress = (progress: TokenProgress): unknown => drawn.closed || drawn.tryPush(progress);
      const completions = actor
        .generate({ request: order, policy, signal, onProgress })
        .finally(() => drawn.close());
      // Its failure is thrown below, once what was drawn before it is sent.
      completions.catch(() => undefined);
      for await (const progress of drawn) yield tokenResponse(progress);
      for (const completion of await completions) yield finishResponse(completion);
    },

    async getStatus() {
      const stats = await generator.stats();
      const state = actor.state();
      return {
        service: serviceStatus({
          ...facts(),
          draining: state.phase !== "serving",
          queues: actorQueues(state, stats),
        }),
        policies: actor.policies.held().map(policyMessage),
        ...actorNumbers(state, stats),
      };
    },

    async drain({ grace }) {
      const graceMs =
        grace === undefined ? DEFAULT_GRACE_MS : Number(grace.seconds) * 1000 + grace.nanos / 1e6;
      return actor.drain(graceMs);
    },
  };
}

function checked(request: GenerateRequest): ReturnType<typeof samplingOf> {
  const refuse = (field: string, problem: string): OarlockError =>
    new OarlockError("GENERATE_REQUEST_INVALID", `Generate: ${field} ${problem}`);
  if (request.promptTokens.length === 0) throw refuse("prompt_tokens", "is empty; at least one token");
  if (request.samples < 1 || request.samples > MAX_SAMPLES) {
    throw refuse("samples", `is ${request.samples}; accepted: 1 to ${MAX_SAMPLES}`);
  }
  if (request.sampling === undefined) throw refuse("sampling", "is missing");
  if (!Number.isSafeInteger(Number(request.seed))) throw refuse("seed", "is above 2^53 − 1");
  return samplingOf(request.sampling);
}

function policyMessage(policy: PolicyVersion): { version: number; digest: string } {
  return { version: policy.number, digest: policy.digest };
}

type Response = Pick<GenerateResponse, "sample"> & {
  policy: { version: number; digest: string };
  event:
    | { case: "tokens"; value: { tokenIds: number[]; logprobs: number[] } }
    | { case: "finishReason"; value: FinishReason };
};

function tokenResponse({ sample, version, tokens, logprobs }: TokenProgress): Response {
  const value = { tokenIds: Array.from(tokens), logprobs: Array.from(logprobs) };
  return { sample, policy: policyMessage(version), event: { case: "tokens", value } };
}

function finishResponse({ sample, version, finishReason }: Completion): Response {
  const event = { case: "finishReason", value: FINISH_REASONS[finishReason] } as const;
  return { sample, policy: policyMessage(version), event };
}
