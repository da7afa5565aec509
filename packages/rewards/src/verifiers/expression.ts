/**
 * The value of a short mathematical expression as answers have it: a product of numbers, fractions, roots and π, in plain
 * text or LaTeX (11\sqrt2 · \frac{3\sqrt{3}}{4} · 1\frac45 · 137 \frac{1}{2} · -\frac{\pi}{6} · 3/4 · 2.5e3). Sums, variables
 * and anything else have no value here: an answer that leaves the work undone is none.
 */

/** Deeper nesting has no value: hostile text must not exhaust the stack. */
const MAX_DEPTH = 16;

const NUMBER = /(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+|\.(?!\d))?(?:[eE][-+]?\d+)?/y;
const MIXED = /\d+/y;

/** Reads from left to right; a text that is no expression has the value undefined. */
class Reader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): number | undefined {
    const value = this.#signed();
    return this.#at === this.#text.length ? value : undefined;
  }

  /** [+-] product */
  #signed(): number | undefined {
    const sign = this.#take("-") || this.#take("−") ? -1 : 1;
    if (sign === 1) this.#take("+");
    const value = this.#quotient();
    return value === undefined ? undefined : sign * value;
  }

  /** product [/ product] */
  #quotient(): number | undefined {
    const above = this.#product();
    if (above === undefined || !this.#take("/")) return above;
    const below = this.#product();
    return below === undefined || below === 0 ? undefined : above / below;
  }

  /** Factors side by side; a whole number before a fraction of numbers is a mixed number. */
  #product(): number | undefined {
    const whole = this.#match(
      MIXED,
      (next) => next.startsWith("\\frac") && /^\\frac *(?:\d|\{\d)/.test(next),
    );
    let value = whole === undefined ? this.#factor() : sum(Number(whole), this.#factor());
    for (let next = value; next !== undefined;) {
      next = this.#next();
      if (next !== undefined && value !== undefined) value *= next;
    }
    return value;
  }

  /** A further factor. Two numbers side by side are no product unless a sign says so. */
  #next(): number | undefined {
    this.#space();
    const isMarked = this.#take("\\cdot") || this.#take("\\times");
    return isMarked || !/[\d.]/.test(this.#text[this.#at] ?? "") ? this.#factor() : undefined;
  }

  #factor(): number | undefined {
    if (this.#take("\\pi") || this.#take("π")) return Math.PI;
    if (this.#take("\\frac")) return this.#fraction();
    if (this.#take("\\sqrt")) return root(this.#argument());
    const digits = this.#match(NUMBER);
    return digits === undefined ? undefined : Number(digits.replaceAll(",", ""));
  }

  #fraction(): number | undefined {
    const [above, below] = [this.#argument(), this.#argument()];
    return above === undefined || below === undefined || below === 0 ? undefined : above / below;
  }

  /** {…}, or the one digit that LaTeX takes without braces. */
  #argument(): number | undefined {
    this.#space();
    if (!this.#take("{")) return digit(this.#match(/\d/y));
    if (++this.#depth > MAX_DEPTH) return undefined;
    const value = this.#signed();
    this.#depth--;
    this.#space();
    return this.#take("}") ? value : undefined;
  }

  #space(): void {
    while (this.#text[this.#at] === " ") this.#at++;
  }

  #take(token: string): boolean {
    this.#space();
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  /** What the pattern matches here, if it is not empty and the text after it is as wanted. */
  #match(pattern: RegExp, follows: (next: string) => boolean = () => true): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    const end = this.#at + found.length;
    if (!/\d/.test(found) || !follows(this.#text.slice(end, end + 16).trimStart())) return undefined;
    this.#at = end;
    return found;
  }
}

const sum = (a: number, b: number | undefined): number | undefined => (b === undefined ? undefined : a + b);
const digit = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : Number(text);
const root = (value: number | undefined): number | undefined =>
  value === undefined || value < 0 ? undefined : Math.sqrt(value);

/** The value of an expression, or undefined where it is none or not finite. */
export function evaluateExpression(text: string): number | undefined {
  const value = new Reader(text.trim()).whole();
  return value !== undefined && Number.isFinite(value) ? value : undefined;
}
