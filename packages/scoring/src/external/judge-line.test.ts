/** A judge behind a chat API: what it is sent, and that one bad answer costs one sample (S1). */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { sampleInput } from "../testing.ts";
import { createJudgeLine } from "./judge-line.ts";

test("asks for each sample with rubric and token, and takes a number alone as its score", async () => {
  const seen: unknown[] = [];
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (part: Buffer) => void (text += part.toString()));
    request.on("end", () => {
      const body: unknown = JSON.parse(text);
      seen.push({ url: request.url, token: request.headers.authorization, body });
      const content = text.includes("good") ? "9" : "I would say 3";
      response.end(
        JSON.stringify({ model: "judge-1", choices: [{ message: { content }, finish_reason: "stop" }] }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const settings = { model: "judge", rubric: "be kind", min: 0, max: 10, temperature: 0, maxTokens: 4 };
  const url = `http://127.0.0.1:${port}/v1/`;
  const line = createJudgeLine(
    { ...settings, url, prompt: "{rubric}: {prompt}{completion}" },
    { token: () => "s3cret" },
  );
  const verdicts = await line.call(
    [sampleInput("good"), sampleInput("bad")],
    AbortSignal.timeout(20_000),
    "",
  );
  server.closeAllConnections();
  server.close();
  expect(verdicts).toMatchObject([
    { type: "scored", value: 9, version: "judge-1" },
    { type: "failed", code: "JUDGE_ANSWER_INVALID" },
  ]);
  expect(seen).toContainEqual({
    url: "/v1/chat/completions",
    token: "Bearer s3cret",
    body: {
      model: "judge",
      messages: [{ role: "user", content: "be kind: pgood" }],
      temperature: 0,
      max_tokens: 4,
    },
  });
});
