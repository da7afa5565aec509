/** What the API server answers when it refuses, as an error that says whether to try again. */
import { OarlockError } from "@oarlock/errors";

/** A refusal of the API server, or no answer from it. */
export class KubeError extends OarlockError {
  /** HTTP status; 0 where there was no answer. */
  readonly status: number;
  /** How long the server asks to wait, if it does. */
  readonly retryAfterMs: number | undefined;

  constructor(code: string, message: string, options: KubeErrorOptions) {
    super(code, message, options);
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}

interface KubeErrorOptions {
  readonly status: number;
  readonly retryable: boolean;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

interface Meaning {
  readonly code: string;
  readonly retryable: boolean;
}

/** What a status means for whoever asked. Conflicts are retried with what is there by then. */
const MEANINGS: Readonly<Record<number, Meaning>> = {
  401: { code: "KUBE_UNAUTHORIZED", retryable: true },
  403: { code: "KUBE_FORBIDDEN", retryable: true },
  404: { code: "KUBE_NOT_FOUND", retryable: true },
  409: { code: "KUBE_CONFLICT", retryable: true },
  410: { code: "KUBE_GONE", retryable: true },
  422: { code: "KUBE_INVALID", retryable: false },
  429: { code: "KUBE_BUSY", retryable: true },
};
const CLIENT_ERROR: Meaning = { code: "KUBE_REFUSED", retryable: false };
const SERVER_ERROR: Meaning = { code: "KUBE_UNAVAILABLE", retryable: true };

export interface Refusal {
  readonly status: number;
  readonly body: string;
  readonly retryAfter?: string | undefined;
}

/** The error of an answer that is not a success. */
export function apiError(what: string, { status, body, retryAfter }: Refusal): KubeError {
  const { code, retryable } = MEANINGS[status] ?? (status >= 500 ? SERVER_ERROR : CLIENT_ERROR);
  const seconds = Number(retryAfter);
  const retryAfterMs = retryAfter !== undefined && Number.isFinite(seconds) ? seconds * 1000 : undefined;
  return new KubeError(code, `${what}: ${status} ${messageOf(body)}`, { status, retryable, retryAfterMs });
}

/** The error of a request that got no answer. */
export function noAnswer(what: string, cause: unknown): KubeError {
  return new KubeError("KUBE_UNAVAILABLE", `${what}: no answer from the API server`, {
    status: 0,
    retryable: true,
    cause,
  });
}

/** Whether a reason is a refusal with one of these statuses. */
export function isStatus(reason: unknown, ...statuses: readonly number[]): boolean {
  return reason instanceof KubeError && statuses.includes(reason.status);
}

const LONGEST_MESSAGE = 2_000;

function messageOf(body: string): string {
  try {
    const status: unknown = JSON.parse(body);
    if (typeof status === "object" && status !== null && "message" in status) return String(status.message);
  } catch {
    // A proxy in between answers in its own words: they are the message.
  }
  return body.slice(0, LONGEST_MESSAGE);
}
