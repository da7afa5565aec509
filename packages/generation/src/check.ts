/** Refuses requests that cannot run, before anything is queued (X1). */
import { OarlockError } from "@oarlock/errors";
import { checkSamplingParams } from "./sampling.ts";
import type { GenerationRequest } from "./types.ts";

/** Throws `GENERATION_REQUEST` or `GENERATION_PARAMS`, naming the field, its value, and what is accepted. */
export function checkRequest(
  request: GenerationRequest,
  limits: { vocabulary: number; maxLength: number },
): void {
  const { id, prompt, samples, params } = request;
  const refuse = (message: string): never => {
    throw new OarlockError("GENERATION_REQUEST", `request ${id}: ${message}`);
  };
  checkSamplingParams(params, limits.vocabulary);
  if (prompt.length === 0) refuse("the prompt has no tokens; at least one is needed");
  if (samples.length === 0) refuse("no samples are asked for");
  const stray = prompt.find((token) => token < 0 || token >= limits.vocabulary);
  if (stray !== undefined)
    refuse(`the prompt holds token ${stray}; the vocabulary ends at ${limits.vocabulary - 1}`);
  const length = prompt.length + params.maxNewTokens;
  if (length > limits.maxLength) {
    refuse(
      `${prompt.length} prompt tokens and ${params.maxNewTokens} new ones pass the limit of ${limits.maxLength} tokens`,
    );
  }
}
