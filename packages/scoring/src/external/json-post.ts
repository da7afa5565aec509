/** One POST of JSON with bounds on both sides. Redirects are refused: they would carry the token to somewhere else. */
import { OarlockError } from "@oarlock/errors";

const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** Of an error's body, for its message. */
const MAX_QUOTED = 200;
/** Statuses after which the same call may succeed: timeout, too early, too many, and whatever ails a server. */
const RETRYABLE: ReadonlySet<number> = new Set([408, 425, 429]);

export interface JsonPost {
  readonly url: string;
  /** Bearer token; "": none. In no message. */
  readonly token: string;
  readonly body: unknown;
  readonly signal: AbortSignal;
}

/** The answer's JSON. Throws `SCORER_UNREACHABLE` and `SCORER_STATUS` (retryable or not), `SCORER_ANSWER_INVALID`. */
export async function postJson({ url, token, body, signal }: JsonPost): Promise<unknown> {
  const sent = JSON.stringify(body);
  if (Buffer.byteLength(sent) > MAX_REQUEST_BYTES) {
    throw new OarlockError(
      "SCORER_REQUEST_LARGE",
      `${url}: more than ${MAX_REQUEST_BYTES} bytes to send; lower batchSize`,
    );
  }
  const headers = {
    "content-type": "application/json",
    accept: "application/json",
    ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
  };
  const { status, text } = await exchange(url, {
    method: "POST",
    headers,
    body: sent,
    redirect: "manual",
    signal,
  });
  if (status !== 200) {
    const retryable = status >= 500 || RETRYABLE.has(status);
    throw new OarlockError("SCORER_STATUS", `${url} answered ${status}: ${text.slice(0, MAX_QUOTED)}`, {
      retryable,
    });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new OarlockError("SCORER_ANSWER_INVALID", `${url}: the answer is no JSON`, { cause });
  }
}

async function exchange(url: string, init: RequestInit): Promise<{ status: number; text: string }> {
  try {
    const response = await fetch(url, init);
    return { status: response.status, text: await bounded(url, response) };
  } catch (cause) {
    if (cause instanceof OarlockError) throw cause;
    throw new OarlockError("SCORER_UNREACHABLE", `${url} cannot be reached, or ended in mid-answer`, {
      cause,
      retryable: true,
    });
  }
}

/** The body as text, counted while it arrives. */
async function bounded(url: string, response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const reader = response.body?.getReader();
  if (reader === undefined) return "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(parts).toString("utf8");
    bytes += value.byteLength;
    if (bytes > MAX_ANSWER_BYTES) {
      await reader.cancel();
      throw new OarlockError(
        "SCORER_ANSWER_INVALID",
        `${url}: the answer has more than ${MAX_ANSWER_BYTES} bytes`,
      );
    }
    parts.push(value);
  }
}
