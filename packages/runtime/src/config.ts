/** Settings from the environment, read once at start: typed, with errors that name the variable and what is accepted. */
import { OarlockError } from "@oarlock/errors";

/** Names to values. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The process's own environment. */
export function processEnvironment(): Environment {
  return process.env;
}

/** Reads settings; an empty value counts as absent. */
export interface SettingsReader {
  text(name: string): string | undefined;
  text(name: string, fallback: string): string;
  integer(name: string, options: { min: number; max: number; fallback: number }): number;
  /** `true`, `1` / `false`, `0`. */
  flag(name: string, fallback: boolean): boolean;
  choice<T extends string>(name: string, choices: readonly T[], fallback: T): T;
}

/** A reader over one environment. */
export function createSettingsReader(environment: Environment): SettingsReader {
  const given = (name: string): string | undefined =>
    environment[name] === "" ? undefined : environment[name];
  function text(name: string): string | undefined;
  function text(name: string, fallback: string): string;
  function text(name: string, fallback?: string): string | undefined {
    return given(name) ?? fallback;
  }
  return {
    text,
    integer(name, { min, max, fallback }) {
      const value = given(name);
      if (value === undefined) return fallback;
      const number = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN;
      if (!(number >= min && number <= max))
        throw refuse(name, value, `a whole number from ${min} to ${max}`);
      return number;
    },
    flag(name, fallback) {
      const value = given(name);
      if (value === undefined) return fallback;
      if (value === "true" || value === "1") return true;
      if (value === "false" || value === "0") return false;
      throw refuse(name, value, "true, 1, false or 0");
    },
    choice(name, choices, fallback) {
      const value = given(name);
      if (value === undefined) return fallback;
      const choice = choices.find((candidate) => candidate === value);
      if (choice === undefined) throw refuse(name, value, choices.join(", "));
      return choice;
    },
  };
}

function refuse(name: string, value: string, accepted: string): OarlockError {
  return new OarlockError(
    "SETTING_INVALID",
    `environment variable ${name}=${JSON.stringify(value)}; accepted: ${accepted}`,
  );
}
