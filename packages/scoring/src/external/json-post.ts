/** POSTs of JSON to one address, with bounds on both sides. Redirects are refused: they would carry the token elsewhere. */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import type { IncomingMessage, RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { OarlockError } from "@oarlock/errors";
import type { LineCredentials } from "./scorer-line.ts";

const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** Of an error's body, for its message. */
const MAX_QUOTED = 200;
/** Statuses after which the same call may succeed: timeout, too early, too many, and whatever ails a server. */
const RETRYABLE: ReadonlySet<number> = new Set([408, 425, 429]);

export interface JsonPoster {
  /** The answer's JSON. Throws `SCORER_UNREACHABLE` and `SCORER_STATUS` (retryable or not), `SCORER_ANSWER_INVALID`. */
  post(body: unknown, signal: AbortSignal): Promise<unknown>;
  close(): void;
}

/** Nothing is sent before the first call. */
export function openJsonPoster(url: string, { token, tls = {} }: LineCredentials): JsonPoster {
  const { ca, cert, key, serverName } = tls;
  const isSecure = url.startsWith("https:");
  const pems = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  const agent = isSecure
    ? new HttpsAgent({ keepAlive: true, ...pems, ...(serverName && { servername: serverName }) })
    : new HttpAgent({ keepAlive: true });
  return {
    async post(body, signal) {
      const sent = Buffer.from(JSON.stringify(body));
      if (sent.byteLength > MAX_REQUEST_BYTES) {
        throw new OarlockError(
          "SCORER_REQUEST_LARGE",
          `${url}: more than ${MAX_REQUEST_BYTES} bytes to send; lower batchSize`,
        );
      }
      const bearer = token();
      const headers = {
        "content-type": "application/json",
        "content-length": sent.byteLength,
        accept: "application/json",
        ...(bearer === "" ? {} : { authorization: `Bearer ${bearer}` }),
      };
      const { status, text } = await exchange(url, sent, { method: "POST", headers, agent, signal });
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
    },
    close: () => agent.destroy(),
  };
}

async function exchange(
  url: string,
  sent: Buffer,
  options: RequestOptions,
): Promise<{ readonly status: number; readonly text: string }> {
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = url.startsWith("https:") ? httpsRequest : httpRequest;
      request(url, options, resolve).once("error", reject).end(sent);
    });
    return { status: response.statusCode ?? 0, text: await bounded(url, response) };
  } catch (cause) {
    if (cause instanceof OarlockError) throw cause;
    throw new OarlockError("SCORER_UNREACHABLE", `${url} cannot be reached, or ended in mid-answer`, {
      cause,
      retryable: true,
    });
  }
}

/** The body as text, counted while it arrives. */
async function bounded(url: string, response: IncomingMessage): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response) {
    // Without an encoding set, a response gives bytes.
    const piece: Uint8Array = part;
    bytes += piece.byteLength;
    if (bytes > MAX_ANSWER_BYTES) {
      throw new OarlockError(
        "SCORER_ANSWER_INVALID",
        `${url}: the answer has more than ${MAX_ANSWER_BYTES} bytes`,
      );
    }
    parts.push(piece);
  }
  return Buffer.concat(parts).toString("utf8");
}
