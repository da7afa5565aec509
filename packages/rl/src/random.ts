/**
 * Counter-based randomness (D2): a number is a function of what it is for, never of when, where or in which order it is
 * drawn. Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (SC11).
 *
 *   stream  = Philox(counter: purpose and stage, step, group, draw; key: seed)       128 bits, once per sample
 *   numbers = Philox(counter: position, sample, stream[2], stream[3]; key: stream[0], stream[1])   once per token
 *
 * No state is held anywhere; nothing here knows of models, workers, attempts or time.
 */
import { OarlockError } from "@oarlock/errors";

/** What a random number is for. Its place in this list is part of every stream: append only. */
export const PURPOSES = ["rollout", "evaluation", "shuffle", "init"] as const;
export type Purpose = (typeof PURPOSES)[number];

/** Whose randomness it is. A redelivery keeps `draw`; a deliberate resample of the same group raises it. */
export interface SampleKey {
  /** The run's seed, 0 … 2^53 − 1. */
  readonly seed: number;
  readonly purpose: Purpose;
  /** Index of the stage in the run file, 0 … 2^30 − 1. The next four: 0 … 2^32 − 1. */
  readonly stage: number;
  readonly step: number;
  readonly group: number;
  readonly draw: number;
  /** Index of the sample within its group. */
  readonly sample: number;
}

/** Four 32-bit words, unsigned. */
export type Words = readonly [number, number, number, number];

/** A sample's own numbers: `block(stream, position)` gives four words for every position. */
export interface RandomStream {
  readonly sample: number;
  readonly words: Words;
}

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;
const WORD = 2 ** 32;

/** The upper 32 bits of the product of two unsigned 32-bit words, as a signed integer. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const cross = Math.imul(aHigh, bLow) >>> 0;
  const middle = (Math.imul(aLow, bHigh) >>> 0) + (cross & 0xffff) + (Math.imul(aLow, bLow) >>> 16);
  return (Math.imul(aHigh, bHigh) + (cross >>> 16) + Math.floor(middle / 0x10000)) | 0;
}

/** Philox4x32-10: four words that depend on every bit of `counter` and of the two key words. */
export function philox(counter: Words, key0: number, key1: number): Words {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = [key0, key1];
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = high1 ^ c1 ^ k0;
    c2 = high0 ^ c3 ^ k1;
    c1 = low1;
    c3 = low0;
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

function checkField(name: string, value: number, limit: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value >= limit) {
    throw new OarlockError("RANDOM_KEY", `${name} is ${value}; accepted: an integer from 0 to ${limit - 1}`);
  }
}

/** The stream of a sample. Throws `RANDOM_KEY` where a field is no integer of its range. */
export function randomStream(key: SampleKey): RandomStream {
  checkField("seed", key.seed, 2 ** 53);
  checkField("stage", key.stage, 2 ** 30);
  for (const name of ["step", "group", "draw", "sample"] as const) checkField(name, key[name], WORD);
  const use = key.stage * PURPOSES.length + PURPOSES.indexOf(key.purpose);
  const words = philox([use, key.step, key.group, key.draw], key.seed % WORD, Math.floor(key.seed / WORD));
  return { sample: key.sample, words };
}

/** The four words at `position` of a stream. */
export function block(stream: RandomStream, position: number): Words {
  const [key0, key1, c2, c3] = stream.words;
  return philox([position, stream.sample, c2, c3], key0, key1);
}

/** A uniform number in [0, 1) with 24 bits, exact in float32: the one that samples the token at `position`. */
export function uniform(stream: RandomStream, position: number): number {
  return (block(stream, position)[0] >>> 8) * 2 ** -24;
}

/** A uniform number in [0, 1) with 53 bits, for choices among many. */
function uniform53(high: number, low: number): number {
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) * 2 ** -53;
}

/**
 * `count` numbers of the standard normal distribution (Box–Muller on 53-bit uniforms), in float32: entry i belongs to
 * block ⌊i/2⌋ of the stream, so a prefix does not depend on `count`.
 */
export function normals(stream: RandomStream, count: number): Float32Array {
  const result = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const [a, b, c, d] = block(stream, i / 2);
    const radius = Math.sqrt(-2 * Math.log(1 - uniform53(a, b)));
    const angle = 2 * Math.PI * uniform53(c, d);
    result[i] = radius * Math.cos(angle);
    if (i + 1 < count) result[i + 1] = radius * Math.sin(angle);
  }
  return result;
}

/** A permutation of 0 … count − 1, each as likely as the next (Fisher–Yates; bias below count · 2^-53). */
export function permutation(stream: RandomStream, count: number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const [high, low] = block(stream, i);
    const j = Math.floor(uniform53(high, low) * (i + 1));
    const moved = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = moved;
  }
  return order;
}

/** The order of a data set of `count` rows in an epoch (0-based) of a stage. */
export function shuffledOrder(options: {
  seed: number;
  stage: number;
  epoch: number;
  count: number;
}): Int32Array {
  const { seed, stage, epoch, count } = options;
  const stream = randomStream({ seed, purpose: "shuffle", stage, step: epoch, group: 0, draw: 0, sample: 0 });
  return permutation(stream, count);
}

/** As `shuffledOrder`, of the rows that are mixed into a stage: no other order has such a stream. */
export function mixedOrder(options: Parameters<typeof shuffledOrder>[0]): Int32Array {
  const { seed, stage, epoch, count } = options;
  const key = { seed, purpose: "shuffle", stage, step: epoch, group: 0, draw: 1, sample: 0 } as const;
  return permutation(randomStream(key), count);
}

/** The order in which a pass (0-based) over the batch of a step takes its `count` rows. No data order has such a stream. */
export function passOrder(options: {
  seed: number;
  stage: number;
  step: number;
  pass: number;
  count: number;
}): Int32Array {
  const { seed, stage, step, pass, count } = options;
  const key = { seed, purpose: "shuffle", stage, step, group: 1 + pass, draw: 0, sample: 0 } as const;
  return permutation(randomStream(key), count);
}

/** The normal numbers that initialise parameter number `index` (its place in the layout) of a new model. */
export function initialNormals(seed: number, index: number, count: number): Float32Array {
  const stream = randomStream({ seed, purpose: "init", stage: 0, step: 0, group: index, draw: 0, sample: 0 });
  return normals(stream, count);
}
