/** Readers of option values that several commands share; a wrong one is a usage error. */
import { InvalidArgumentError, Option } from "commander";

/** An integer from 0 on. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("expected a whole number");
  return Number(text);
}

/** An integer from 1 on. */
export function positiveNumber(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError("expected a whole number from 1 on");
  return value;
}

/** A number from 0 on. */
export function amount(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError("expected a number from 0 on");
  return value;
}

/** `--set key=value`, once per value: a list, empty where it is not given. */
export function setOption(): Option {
  return new Option("--set <key=value>", "change a value of the run file; repeatable")
    .argParser<readonly string[]>((value, before) => [...before, value])
    .default([], "none");
}
