/**
 * Chooses tokens from rows of probabilities, in packed loops. The rows come out of the graph after temperature and
 * softmax; the choice is the inverse of the cumulative distribution at u (D2: one uniform number per token).
 *
 * It knows no model and no batch: a row's result depends on that row alone (D3).
 *
 * Why not in the graph (softmax, CumSum, compare with u, count, gather): measured on one thread of an AVX-512 machine,
 * softmax in the graph and this loop take 10 + 14 µs for 64 rows of 512, the graph form 122 µs; for 8 rows of 49,152:
 * 91 + 143 µs against 1,467 µs. CumSum is not vectorised, and the loop ends where the token is found.
 */
import { OarlockError } from "@oarlock/errors";
import type { SamplingParams } from "./types.ts";

/** The chosen token and its log-probability in the distribution that it was drawn from. */
export interface Choice {
  token: number;
  logprob: number;
}

/** Where a row of `vocabulary` probabilities lies. */
export interface Row {
  readonly probabilities: Float32Array;
  readonly offset: number;
  readonly vocabulary: number;
}

/** Refuses parameters outside of their ranges, naming the field. Throws `GENERATION_PARAMS`. */
export function checkSamplingParams(params: SamplingParams, vocabulary: number): void {
  const refuse = (field: string, value: unknown, accepted: string): never => {
    throw new OarlockError("GENERATION_PARAMS", `${field} is ${String(value)}; accepted: ${accepted}`);
  };
  const { temperature, topK, topP, maxNewTokens, stopTokens } = params;
  if (!Number.isFinite(temperature) || temperature < 0)
    refuse("temperature", temperature, "0 (greedy) or a positive number");
  if (!Number.isSafeInteger(topK) || topK < 0) refuse("topK", topK, "0 (off) or a positive integer");
  if (!(topP > 0 && topP <= 1)) refuse("topP", topP, "above 0, up to 1 (off)");
  if (!Number.isSafeInteger(maxNewTokens) || maxNewTokens < 1)
    refuse("maxNewTokens", maxNewTokens, "a positive integer");
  const stray = stopTokens.find((token) => !Number.isSafeInteger(token) || token < 0 || token >= vocabulary);
  if (stray !== undefined) refuse("stopTokens", stray, `token ids from 0 to ${vocabulary - 1}`);
}

/** What the graph multiplies the logits with: 1 for greedy decoding, which reports the model's own log-probs. */
export function inverseTemperature(params: SamplingParams): number {
  return params.temperature === 0 ? 1 : 1 / params.temperature;
}

/** Draws from a row by `params` with the uniform number `u`. Throws `GENERATION_NOT_FINITE` on a broken row. */
export function choose(row: Row, params: SamplingParams, u: number, into: Choice): void {
  if (params.temperature === 0) chooseGreedy(row, into);
  else if ((params.topK === 0 || params.topK >= row.vocabulary) && params.topP === 1)
    chooseFromAll(row, u, into);
  else chooseFromKept(row, params, u, into);
}

function chooseGreedy({ probabilities, offset, vocabulary }: Row, into: Choice): void {
  let best = -1;
  let highest = -1;
  for (let i = 0; i < vocabulary; i++) {
    const p = probabilities[offset + i] ?? 0;
    if (p > highest) {
      highest = p;
      best = i;
    }
  }
  settle(best, highest, 1, into);
}

/** The first token at which the running sum passes u: the sum of all is 1 but for rounding. */
function chooseFromAll({ probabilities, offset, vocabulary }: Row, u: number, into: Choice): void {
  const end = offset + vocabulary;
  let sum = 0;
  for (let i = offset; i < end; i++) {
    sum += probabilities[i] ?? 0;
    if (sum > u) return settle(i - offset, probabilities[i] ?? 0, 1, into);
  }
  // Rounding left the sum at or below u: the last token that has any mass.
  let last = end - 1;
  while (last > offset && !((probabilities[last] ?? 0) > 0)) last--;
  settle(last - offset, probabilities[last] ?? 0, 1, into);
}

function chooseFromKept(row: Row, params: SamplingParams, u: number, into: Choice): void {
  const { probabilities, offset } = row;
  const kept = keptTokens(row, params);
  const total = massOf(row, kept);
  let sum = 0;
  for (const token of kept) {
    const p = probabilities[offset + token] ?? 0;
    sum += p;
    if (sum > u * total) return settle(token, p, total, into);
  }
  const last = kept.at(-1) ?? 0;
  settle(last, probabilities[offset + last] ?? 0, total, into);
}

/** The tokens that top-k and top-p leave, most probable first, equals by lower id. Never empty. */
export function keptTokens(row: Row, params: SamplingParams): readonly number[] {
  const { probabilities, offset, vocabulary } = row;
  const { topK, topP } = params;
  const floor = lowestCandidate(row, params);
  const candidates: number[] = [];
  let total = 0;
  for (let i = 0; i < vocabulary; i++) {
    const p = probabilities[offset + i] ?? 0;
    total += p;
    if (p >= floor) candidates.push(i);
  }
  candidates.sort((a, b) => (probabilities[offset + b] ?? 0) - (probabilities[offset + a] ?? 0) || a - b);
  if (topK > 0 && topK < candidates.length) candidates.length = topK;
  if (topP === 1) return candidates;
  // The nucleus is taken of what top-k left, renormalised (the order of Hugging Face's processors).
  const whole = topK > 0 && topK < vocabulary ? massOf(row, candidates) : total;
  return nucleus(row, candidates, topP * whole);
}

function massOf({ probabilities, offset }: Row, tokens: readonly number[]): number {
  let sum = 0;
  for (const token of tokens) sum += probabilities[offset + token] ?? 0;
  return sum;
}

/** The first of `candidates` that reach `mass` together. */
function nucleus(
  { probabilities, offset }: Row,
  candidates: readonly number[],
  mass: number,
): readonly number[] {
  let sum = 0;
  let count = 0;
  while (count < candidates.length && (count === 0 || sum < mass)) {
    sum += probabilities[offset + (candidates[count] ?? 0)] ?? 0;
    count++;
  }
  return candidates.slice(0, count);
}

/**
 * A probability below which no token can be kept. For the nucleus: tokens below (1 − p) / V have less than 1 − p of the
 * mass together, so those above reach p without them (half of it, to stay clear of rounding).
 */
function lowestCandidate({ probabilities, offset, vocabulary }: Row, { topK, topP }: SamplingParams): number {
  if (topK > 0 && topK < vocabulary) return kthLargest(probabilities, offset, vocabulary, topK);
  return (0.5 * (1 - topP)) / vocabulary;
}

/** The k-th largest probability: a bounded min-heap over one pass. */
function kthLargest(probabilities: Float32Array, offset: number, vocabulary: number, k: number): number {
  const heap = probabilities.slice(offset, offset + k);
  for (let i = (k >> 1) - 1; i >= 0; i--) siftDown(heap, i);
  for (let i = k; i < vocabulary; i++) {
    const p = probabilities[offset + i] ?? 0;
    if (p > (heap[0] ?? 0)) {
      heap[0] = p;
      siftDown(heap, 0);
    }
  }
  return heap[0] ?? 0;
}

function siftDown(heap: Float32Array, start: number): void {
  for (let at = start; ;) {
    let least = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      if (child < heap.length && (heap[child] ?? 0) < (heap[least] ?? 0)) least = child;
    }
    if (least === at) return;
    const moved = heap[at] ?? 0;
    heap[at] = heap[least] ?? 0;
    heap[least] = moved;
    at = least;
  }
}

function settle(token: number, p: number, total: number, into: Choice): void {
  if (!(p > 0 && Number.isFinite(total))) {
    throw new OarlockError("GENERATION_NOT_FINITE", "the model's probabilities are not finite numbers");
  }
  into.token = token;
  into.logprob = Math.log(p / total);
}
