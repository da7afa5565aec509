/**
 * The one error type of Oarlock: every failure that a caller may act on carries a code.
 *
 * Each package lists its own codes; nothing here knows them. Bare `Error` is for bugs only.
 */

export interface OarlockErrorOptions {
  /** What caused this error, kept for the chain that is printed to the user. */
  readonly cause?: unknown;
  /** Whether the same call may succeed later. Default false. */
  readonly retryable?: boolean;
}

/** An expected failure: `code` says which one, `retryable` whether to try again. */
export class OarlockError extends Error {
  override readonly name: string = "OarlockError";
  /** Stable, SCREAMING_SNAKE_CASE, e.g. `SAFETENSORS_HEADER_TOO_LARGE`. */
  readonly code: string;
  readonly retryable: boolean;
  /** The message without the code in front. */
  readonly rawMessage: string;

  constructor(code: string, message: string, options: OarlockErrorOptions = {}) {
    super(`[${code}] ${message}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.rawMessage = message;
    this.retryable = options.retryable ?? false;
  }
}

/** Whether `reason` is an `OarlockError`, also one from another copy of this package, optionally of one code. */
export function isOarlockError(reason: unknown, code?: string): reason is OarlockError {
  if (!(reason instanceof Error) || !("code" in reason) || !("retryable" in reason)) return false;
  return code === undefined || reason.code === code;
}

/** The operating system's code of an error, e.g. ENOENT. */
export function errnoOf(reason: unknown): string | undefined {
  return reason instanceof Error && "code" in reason && typeof reason.code === "string"
    ? reason.code
    : undefined;
}

/** What a thrown thing says, without a code in front. */
export function plainMessage(reason: unknown): string {
  if (isOarlockError(reason)) return reason.rawMessage;
  return reason instanceof Error ? reason.message : String(reason);
}

/** Digits of a digest, where people read it: nobody compares more. */
const SHOWN_DIGITS = 12;

/** A digest in a sentence; "none" where there is none. */
export function shortDigest(digest: string): string {
  return digest === "" ? "none" : digest.slice(0, SHOWN_DIGITS);
}

/** A path or a value as one word of a command that a message offers, for a POSIX shell: quoted only where it has to be. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * An address, or JSON with some, as it may be shown to anybody: `nats://user:password@host` as `nats://…@host`. What follows the `@`
 * of `hf://org/model@revision` is no host.
 */
export function withoutCredentials(text: string): string {
  return text.replaceAll(/(?<!\bhf):\/\/(?:\\"|[^"])*@/g, "://…@");
}

/** The messages of an error and of its causes, outermost first. */
export function causeChain(reason: unknown): string[] {
  const messages: string[] = [];
  for (let at = reason; at !== undefined && messages.length < 16;) {
    messages.push(at instanceof Error ? at.message : typeof at === "string" ? at : JSON.stringify(at));
    at = at instanceof Error ? at.cause : undefined;
  }
  return messages;
}
