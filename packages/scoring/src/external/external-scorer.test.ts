/** A scorer behind HTTP that does everything wrong that a process can: what its samples get (S1), and what it gets to see. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { WaitRegistry } from "@oarlock/runtime";
import { afterEach, describe, expect, test } from "vitest";
import { cachedScorer } from "../cached-scorer.ts";
import type { TrajectoryInput } from "../scorer-set.ts";
import { createExternalScorer } from "./external-scorer.ts";
import type { ExternalScorerOptions } from "./external-scorer.ts";
import { createHttpLine } from "./http-line.ts";

const input = (completion: string): TrajectoryInput => ({
  prompt: "p",
  completion,
  completionTokens: 1,
  fields: { answer: "4" },
  truncated: false,
  tokens: Int32Array.of(1, 2),
});

type Answer = (samples: { completion: string }[], response: ServerResponse, request: IncomingMessage) => void;

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

/** A server that answers by `answer`, and keeps the sizes of its calls. */
async function serve(
  answer: Answer,
): Promise<{ url: string; sizes: number[]; headers: IncomingMessage["headers"][] }> {
  const sizes: number[] = [];
  const headers: IncomingMessage["headers"][] = [];
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (part: Buffer) => void (text += part.toString()));
    request.on("end", () => {
      const { samples } = JSON.parse(text) as { samples: { completion: string }[] };
      sizes.push(samples.length);
      headers.push(request.headers);
      answer(samples, response, request);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/score`, sizes, headers };
}

const lengths: Answer = (samples, response) => {
  response.end(JSON.stringify({ results: samples.map(({ completion }) => ({ score: completion.length })) }));
};

function scorer(url: string, change: Partial<ExternalScorerOptions> = {}) {
  const made = createExternalScorer({
    name: "mine",
    version: "http@1",
    optional: false,
    deterministic: false,
    pinnedVersion: "",
    timeoutMs: 5_000,
    retryForMs: 0,
    batchSize: 64,
    batchWaitMs: 5,
    concurrency: 4,
    line: createHttpLine({ scorer: "mine", url, token: () => "s3cret" }),
    random: () => 0.5,
    ...change,
  });
  closing.push(() => made.close());
  return made;
}

describe("a scorer behind HTTP", () => {
  test("gets samples of several groups in one call, bounded, with the token as a header", async () => {
    const { url, sizes, headers } = await serve(lengths);
    const made = scorer(url, { batchSize: 3, batchWaitMs: 50 });
    const groups = [["a", "bb"], ["ccc"], ["dddd", "e"]].map((texts) => made.score(texts.map(input)));
    const values = (await Promise.all(groups)).map((verdicts) =>
      verdicts.map((verdict) => (verdict.type === "scored" ? verdict.value : verdict)),
    );
    expect(values).toEqual([[1, 2], [3], [4, 1]]);
    expect(sizes.toSorted((a, b) => a - b)).toEqual([2, 3]);
    expect(headers[0]).toMatchObject({ authorization: "Bearer s3cret" });
  });

  test("S1: a change that nobody announced never mixes versions in a group", async () => {
    // Two samples a call: the first call is answered by version 1, and what comes after it by 2.
    let calls = 0;
    const versions = (of: (call: number) => string): Answer => {
      return (samples, response) => {
        const results = samples.map(() => ({ score: 1 }));
        response.end(JSON.stringify({ version: of(calls++), results }));
      };
    };
    const changed = scorer((await serve(versions((call) => (call === 0 ? "1" : "2")))).url, {
      batchSize: 2,
      concurrency: 1,
    });
    const verdicts = await changed.score(["a", "b", "c", "d"].map(input));
    expect(verdicts.map((verdict) => verdict.type === "scored" && verdict.version)).toEqual(
      Array.from({ length: 4 }, () => "2"),
    );
    calls = 0;
    const flapping = scorer((await serve(versions((call) => String(call % 2)))).url, {
      batchSize: 2,
      concurrency: 1,
    });
    for (const verdict of await flapping.score(["a", "b", "c", "d"].map(input)))
      expect(verdict).toMatchObject({
        type: "failed",
        code: "SCORER_VERSION",
        reason: expect.stringMatching(/mine judged one group by versions 0 and 1/),
      });
  });

  test.each<[string, string, Answer]>([
    ["an error of the server", "SCORER_STATUS", (_, response) => response.writeHead(500).end("boom")],
    ["a refusal", "SCORER_STATUS", (_, response) => response.writeHead(401).end("who are you")],
    [
      "a redirect",
      "SCORER_STATUS",
      (_, response) => response.writeHead(302, { location: "http://x/" }).end(),
    ],
    ["no JSON", "SCORER_ANSWER_INVALID", (_, response) => response.end("<html>")],
    [
      "NaN, as Python writes it",
      "SCORER_ANSWER_INVALID",
      (_, response) => response.end('{"results": [{"score": NaN}]}'),
    ],
    ["the wrong count", "SCORER_ANSWER_INVALID", (_, response) => response.end('{"results": []}')],
    [
      "too much",
      "SCORER_ANSWER_INVALID",
      (_, response) => response.end(`{"results": [{"failed": "${"x".repeat(17 * 1024 * 1024)}"}]}`),
    ],
    [
      "an end in mid-answer",
      "SCORER_UNREACHABLE",
      (_, response) => {
        response.writeHead(200, { "content-length": "100" });
        response.write('{"resul', () => response.destroy());
      },
    ],
    ["silence", "DEADLINE_EXCEEDED", () => undefined],
  ])("S1: %s is a failure with its reason, and no secret in it", async (_, code, answer) => {
    const { url } = await serve(answer);
    const [verdict] = await scorer(url, { timeoutMs: code === "DEADLINE_EXCEEDED" ? 50 : 5_000 }).score([
      input("a"),
    ]);
    expect(verdict).toMatchObject({ type: "failed", code });
    expect(JSON.stringify(verdict)).not.toContain("s3cret");
  });

  test("S1: nobody at the address is a failure, and the circuit opens; who is waited for is known meanwhile", async () => {
    const { url } = await serve(lengths);
    await closing.pop()?.();
    const registry = new WaitRegistry();
    const made = scorer(url, { retryForMs: 3_000, registry });
    const scoring = made.score([input("a")]);
    await expect
      .poll(() => registry.open().map(({ name }) => name), { timeout: 3_000 })
      .toContainEqual(expect.stringMatching(/^scorer mine at .* to come back: .*cannot be reached/));
    await expect
      .poll(() => made.activity?.(), { timeout: 3_000 })
      .toMatchObject({ circuit: "open", waiting: 1 });
    expect(await scoring).toMatchObject([{ type: "failed", code: "SCORER_UNREACHABLE", retryable: true }]);
    expect(registry.open()).toEqual([]);
  });

  test("asks again for what failed only, and only where that may help", async () => {
    let calls = 0;
    const { url, sizes } = await serve((samples, response) => {
      calls++;
      const result = ({ completion }: { completion: string }) =>
        completion === "late" && calls === 1
          ? { failed: "warming up", retryable: true }
          : completion === "never"
            ? { failed: "cannot" }
            : { score: completion.length };
      response.end(JSON.stringify({ results: samples.map(result) }));
    });
    const verdicts = await scorer(url, { retryForMs: 5_000 }).score(["a", "late", "never"].map(input));
    expect(verdicts).toMatchObject([{ value: 1 }, { value: 4 }, { type: "failed", reason: "cannot" }]);
    expect(sizes).toEqual([3, 1]);
  });

  test("D1c: a deterministic scorer is waited for beyond any limit, until its caller gives up", async () => {
    let down = true;
    const { url } = await serve((samples, response, request) =>
      down ? response.writeHead(503).end() : lengths(samples, response, request),
    );
    const made = scorer(url, { deterministic: true, retryForMs: 0 });
    const caller = new AbortController();
    const given = made.score([input("gone")], caller.signal).catch((reason: unknown) => reason);
    const kept = made.score([input("kept")]);
    await expect.poll(() => made.activity?.().failedCalls, { timeout: 5_000 }).toBeGreaterThan(1);
    caller.abort(new Error("handed back"));
    expect(await given).toMatchObject({ message: "handed back" });
    down = false;
    expect(await kept).toMatchObject([{ type: "scored", value: 4 }]);
  });

  test("scores of another version than the pinned one are failures", async () => {
    const { url } = await serve((_, response) => response.end('{"version": "2", "results": [{"score": 1}]}'));
    const [pinned] = await scorer(url, { pinnedVersion: "1" }).score([input("a")]);
    expect(pinned).toMatchObject({ type: "failed", code: "SCORER_VERSION" });
    expect(await scorer(url).score([input("a")])).toEqual([{ type: "scored", value: 1, version: "2" }]);
  });
});

describe("a scorer that remembers", () => {
  test("asks once for the same content, not for what failed, and forgets what is longest unused", async () => {
    const { url, sizes } = await serve((samples, response) => {
      const result = ({ completion }: { completion: string }) =>
        completion === "x" ? { failed: "no" } : { score: completion.length };
      response.end(JSON.stringify({ results: samples.map(result) }));
    });
    const made = cachedScorer(scorer(url), { entries: 2 });
    const first = await made.score(["a", "bb", "a", "x"].map(input));
    expect(sizes).toEqual([3]);
    const again = await made.score(["a", "bb", "a", "x"].map(input));
    expect(again).toEqual(first);
    expect(sizes).toEqual([3, 1]);
    await made.score([input("ccc")]); // the least recent is bb
    await made.score([input("a")]);
    expect(sizes).toEqual([3, 1, 1]);
    await made.score([input("bb")]);
    expect(sizes).toEqual([3, 1, 1, 1]);
    expect(made.activity?.()).toMatchObject({ cacheHits: 5, cacheMisses: 6 });
  });

  test("S1: what is remembered of an older version is not mixed with scores of another in one group", async () => {
    let version = "1";
    const { url } = await serve((samples, response) => {
      response.end(JSON.stringify({ version, results: samples.map(() => ({ score: 1 })) }));
    });
    const made = cachedScorer(scorer(url));
    await made.score(["a", "bb"].map(input));
    version = "2";
    const verdicts = await made.score(["a", "ccc", "bb"].map(input));
    expect(verdicts).toMatchObject(["2", "2", "2"].map((one) => ({ type: "scored", version: one })));
  });
});
