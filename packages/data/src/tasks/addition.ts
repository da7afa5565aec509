/**
 * Addition of two numbers: "12+34=" → "46". The split is by the unordered pair, so that a model which saw 12+34 in
 * training is never tested on 34+12.
 */
import { fractionOf, numberStream } from "./mixing.ts";
import { MAX_TASK_ROWS, type Task, type TaskExample } from "./task.ts";

const example = (a: number, b: number): TaskExample => ({
  prompt: `${a}+${b}=`,
  answer: String(a + b),
  key: `${Math.min(a, b)}+${Math.max(a, b)}`,
  fields: { a, b },
});

/** Operands of up to `digits` digits, without leading zeros: all pairs for 1 and 2 digits, drawn ones beyond. */
export const addition: Task = {
  maxDigits: 9,
  alphabet: "0123456789+=",
  *examples(digits) {
    const limit = 10 ** digits;
    if (limit * limit <= MAX_TASK_ROWS) {
      yield* allPairs(limit);
      return;
    }
    const numbers = numberStream(`addition/${digits}`);
    for (;;) yield example(numbers.below(limit), numbers.below(limit));
  },
};

/** Every pair once, in an order without pattern, so that the first few are a fair sample. */
function allPairs(limit: number): TaskExample[] {
  const pairs = Array.from({ length: limit * limit }, (_, i) => example(Math.floor(i / limit), i % limit));
  const placed = pairs.map((pair) => ({ pair, place: fractionOf(`addition/order/${pair.prompt}`) }));
  return placed.sort((left, right) => left.place - right.place).map(({ pair }) => pair);
}
