/** Errors as plain data and back, for threads and sockets: code, message, retryability and the chain of causes stay. */
import { causeChain, isOarlockError, OarlockError } from "@oarlock/errors";

/** An error that can be cloned or written as JSON. */
export interface EncodedError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  /** Messages of the causes, outermost first. */
  readonly causes: readonly string[];
}

/** The code of failures that are no OarlockError: bugs, mostly. */
export const UNEXPECTED = "UNEXPECTED";

/** Flattens any reason. */
export function encodeError(reason: unknown): EncodedError {
  const causes = causeChain(reason).slice(1);
  if (isOarlockError(reason)) {
    const { code, rawMessage, retryable } = reason;
    return { code, message: rawMessage, retryable, causes };
  }
  const message = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason);
  return { code: UNEXPECTED, message, retryable: false, causes };
}

/** The error again, with its causes nested as they were. */
export function decodeError(encoded: EncodedError): OarlockError {
  const { code, message, retryable, causes } = encoded;
  let cause: Error | undefined;
  // Causes are messages of unknown types by now: plain errors are what is left of them.
  for (const text of [...causes].reverse())
    cause = new Error(text, cause === undefined ? undefined : { cause });
  return new OarlockError(code, message, cause === undefined ? { retryable } : { cause, retryable });
}
