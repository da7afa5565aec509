/**
 * How the hub is asked: again where a connection broke before an answer came or it is busy, since most such faults pass in seconds, and
 * with a token at its own address alone.
 */
import { setTimeout as sleep } from "node:timers/promises";

const ATTEMPTS = 4;
const FIRST_WAIT_MS = 250;
/** A hub that asks for more patience is answered with its own refusal. */
const LONGEST_WAIT_MS = 60_000;
const BUSY = [429, 502, 503, 504];

/** Until `signal` aborts. Only for requests that may be sent twice: the hub is only read here. */
export function patientFetch(signal: AbortSignal | undefined): typeof fetch {
  return async (input, init) => {
    const request = { ...init, ...(signal === undefined ? {} : { signal }) };
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt === ATTEMPTS;
      const answer = await fetch(input, request).catch(async (reason: unknown) => {
        signal?.throwIfAborted();
        // What is no address will not become one.
        if (isLast || !(reason instanceof TypeError) || reason.cause === undefined) throw reason;
        return undefined;
      });
      const waitMs = waitOf(answer, attempt);
      if (answer !== undefined && (isLast || waitMs === undefined)) return answer;
      await answer?.body?.cancel();
      await sleep(waitMs ?? FIRST_WAIT_MS, undefined, signal === undefined ? {} : { signal });
    }
  };
}

/** How long to wait before the next attempt; undefined where the answer is one. */
function waitOf(answer: Response | undefined, attempt: number): number | undefined {
  const ownMs = FIRST_WAIT_MS * 2 ** (attempt - 1);
  if (answer === undefined) return ownMs;
  if (!BUSY.includes(answer.status)) return undefined;
  const asked = answer.headers.get("retry-after");
  const askedMs = asked === null ? ownMs : Number(asked) * 1_000;
  return askedMs >= 0 && askedMs <= LONGEST_WAIT_MS ? Math.max(askedMs, ownMs) : undefined;
}

/**
 * Sends the token to the endpoint and to nobody else: pages of a listing, and stores that the hub names for large files, lie on hosts that
 * a mirror chooses.
 */
export function tokenToEndpoint(ask: typeof fetch, endpoint: string): typeof fetch {
  const own = new URL(endpoint).origin;
  return (input, init) => {
    const address = typeof input === "string" ? input : input instanceof URL ? input.href : input.url;
    if (new URL(address).origin === own) return ask(input, init);
    const headers = new Headers(init?.headers);
    headers.delete("authorization");
    return ask(input, { ...init, headers });
  };
}
