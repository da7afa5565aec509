/**
 * Failures over the wire: an OarlockError becomes a gRPC status that any client understands, with the error itself (code,
 * retryability, causes) in the trailer `oarlock-error-bin`; our client makes the same OarlockError of it again.
 */
import { decodeError, encodeError, type EncodedError } from "@oarlock/runtime";
import { OarlockError } from "@oarlock/errors";
import { Metadata, type ServiceError, status, type StatusObject } from "@grpc/grpc-js";

const TRAILER = "oarlock-error-bin";

/** Trailers above 8 KiB are refused by some peers. */
const MAX_TRAILER_BYTES = 4_096;
const MAX_DETAILS_CHARACTERS = 256;

/** Codes with a status of their own; others are told apart by their last word. */
const BY_CODE: Readonly<Record<string, status>> = {
  DEADLINE_EXCEEDED: status.DEADLINE_EXCEEDED,
  ABORTED: status.CANCELLED,
  DRAINING: status.UNAVAILABLE,
  UNEXPECTED: status.INTERNAL,
  RPC_UNAUTHENTICATED: status.UNAUTHENTICATED,
  RPC_UNIMPLEMENTED: status.UNIMPLEMENTED,
};

const BY_LAST_WORD: Readonly<Record<string, status>> = {
  INVALID: status.INVALID_ARGUMENT,
  REFUSED: status.INVALID_ARGUMENT,
  UNKNOWN: status.NOT_FOUND,
  MISSING: status.NOT_FOUND,
  MISMATCH: status.FAILED_PRECONDITION,
  FENCED: status.FAILED_PRECONDITION,
  FULL: status.RESOURCE_EXHAUSTED,
  LARGE: status.RESOURCE_EXHAUSTED,
  CORRUPT: status.DATA_LOSS,
  CLOSED: status.UNAVAILABLE,
};

/** The status that stands for an error code. */
export function statusOf(code: string, retryable: boolean): status {
  const lastWord = code.slice(code.lastIndexOf("_") + 1);
  return (
    BY_CODE[code] ?? BY_LAST_WORD[lastWord] ?? (retryable ? status.UNAVAILABLE : status.FAILED_PRECONDITION)
  );
}

/** What a server answers for a failed handler. */
export function toStatus(reason: unknown): Pick<StatusObject, "code" | "details" | "metadata"> {
  const encoded = encodeError(reason);
  const metadata = new Metadata();
  metadata.set(TRAILER, trailer(encoded));
  // The message also travels as a header, percent-encoded; a header above the peer's limit leaves the call without an answer.
  const details = encoded.message.slice(0, MAX_DETAILS_CHARACTERS);
  return { code: statusOf(encoded.code, encoded.retryable), details, metadata };
}

function trailer(encoded: EncodedError): Buffer {
  const whole = Buffer.from(JSON.stringify(encoded));
  if (whole.byteLength <= MAX_TRAILER_BYTES) return whole;
  const short = { ...encoded, message: `${encoded.message.slice(0, 900)}…`, causes: [] };
  return Buffer.from(JSON.stringify(short));
}

/** Statuses after which the same call may succeed. */
const RETRYABLE: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
]);

/** Codes of our own for statuses that came without a trailer: from other servers, proxies, or grpc itself. */
function foreignCode(code: status): string {
  if (code === status.DEADLINE_EXCEEDED) return "DEADLINE_EXCEEDED";
  if (code === status.CANCELLED) return "ABORTED";
  return `RPC_${status[code] ?? "UNKNOWN"}`;
}

/** What a client throws for a failed call. */
export function fromServiceError(error: ServiceError, call: string): OarlockError {
  const [sent] = error.metadata?.get(TRAILER) ?? [];
  const encoded = Buffer.isBuffer(sent) ? parseTrailer(sent) : undefined;
  if (encoded !== undefined) return decodeError(encoded);
  const retryable = RETRYABLE.has(error.code);
  return new OarlockError(foreignCode(error.code), `${call}: ${error.details}`, { cause: error, retryable });
}

/** Undefined unless it is exactly what `trailer` writes: it comes from another process. */
function parseTrailer(bytes: Buffer): EncodedError | undefined {
  if (bytes.byteLength > MAX_TRAILER_BYTES) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined; // the status itself still says what happened
  }
  return isEncodedError(value) ? value : undefined;
}

function isEncodedError(value: unknown): value is EncodedError {
  if (typeof value !== "object" || value === null) return false;
  const { code, message, retryable, causes } = value as Partial<Record<keyof EncodedError, unknown>>; // unknown fields
  if (typeof code !== "string" || typeof message !== "string" || typeof retryable !== "boolean") return false;
  return Array.isArray(causes) && causes.every((cause) => typeof cause === "string");
}
