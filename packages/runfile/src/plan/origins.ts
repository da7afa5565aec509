/**
 * Where each value of a resolved run comes from: the file, a `--set`, a default, or other values (derived).
 *
 * A scope walks the run file and fills what it does not say; every value that passes through leaves its origin behind.
 */
import { OarlockError } from "@oarlock/errors";
import type { Path } from "../problem.ts";
import type { ValueSource } from "../read-run-file.ts";

export type Origin =
  | ValueSource
  | { readonly type: "default" }
  /** Computed from other values; `why` says from which. */
  | { readonly type: "derived"; readonly why: string };

/** Origins by path, steps joined by dots: `spec.stages.1.grpo.steps`. */
export type Origins = ReadonlyMap<string, Origin>;

/** One block of the run file while its defaults are filled. */
export interface Scope {
  /** The scope of a block inside this one. */
  inside(...steps: Path): Scope;
  /** A value that the schema requires. */
  given<T>(key: string, value: T | undefined): T;
  /** The value, or a constant default. */
  fill<T>(key: string, value: T | undefined, fallback: T): T;
  /** The value, or one that follows from others. */
  derive<T>(key: string, value: T | undefined, derived: T, why: string): T;
}

/** A scope at `path`; writes into `origins`. */
export function createScope(
  origins: Map<string, Origin>,
  source: (path: Path) => ValueSource | undefined,
  path: Path,
): Scope {
  const note = (key: string, otherwise: Origin) => {
    const at = [...path, key];
    origins.set(at.join("."), source(at) ?? otherwise);
  };
  return {
    inside: (...steps) => createScope(origins, source, [...path, ...steps]),
    given(key, value) {
      if (value === undefined) {
        throw new OarlockError(
          "PLAN_UNCHECKED",
          `${[...path, key].join(".")} is missing: the run file was not validated`,
        );
      }
      note(key, { type: "default" });
      return value;
    },
    fill(key, value, fallback) {
      note(key, { type: "default" });
      return value ?? fallback;
    },
    derive(key, value, derived, why) {
      note(key, { type: "derived", why });
      return value ?? derived;
    },
  };
}
