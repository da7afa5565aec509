/** Verifiers of form: tags in their order, and length. */
import { scored, type Verifier } from "../verdict.ts";

export interface FormatOptions {
  /** Tags that must follow one another, each opened and closed once: `<think>…</think><answer>…</answer>`. */
  readonly tags: readonly string[];
}

export interface LengthOptions {
  readonly unit: "tokens" | "characters";
  readonly min: number;
  readonly max: number;
  /** Units over which the reward falls to 0 outside the range; 0 = at once. */
  readonly softness: number;
}

/** 1 where the completion is these tagged parts and white space, in this order, else 0 (DeepSeek-R1's format reward). */
export function format({ tags }: FormatOptions): Verifier {
  return ({ completion }) => {
    let rest = completion.trim();
    for (const tag of tags) {
      const [open, close] = [`<${tag}>`, `</${tag}>`];
      const end = rest.indexOf(close);
      if (!rest.startsWith(open) || end < 0 || rest.indexOf(open, 1) >= 0)
        return scored(0, `<${tag}> is missing or misplaced`);
      rest = rest.slice(end + close.length).trimStart();
    }
    return scored(rest === "" ? 1 : 0);
  };
}

/** 1 between min and max, falling linearly to 0 over `softness` units outside. */
export function length({ unit, min, max, softness }: LengthOptions): Verifier {
  return (input) => {
    const size = unit === "tokens" ? input.completionTokens : Array.from(input.completion).length;
    const outside = Math.max(min - size, size - max, 0);
    if (outside === 0) return scored(1);
    return scored(softness === 0 ? 0 : Math.max(0, 1 - outside / softness));
  };
}
