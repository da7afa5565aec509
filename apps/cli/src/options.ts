/** Readers of option values that several commands share; a wrong one is a usage error. */
import { InvalidArgumentError } from "commander";

/** An integer from 0 on. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("expected a whole number");
  return Number(text);
}

/** A number from 0 on. */
export function amount(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError("expected a number from 0 on");
  return value;
}
