/** A judge behind a chat API: what it is sent, and that one bad answer costs one sample (S1). */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { sampleInput } from "../testing.ts";
import { createJudgeLine } from "./judge-line.ts";

/** A judge that likes what is good; it says which model was asked for, or the name that the API has for it. */
async function judgeLine(version: string) {
  const seen: unknown[] = [];
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (part: Buffer) => void (text += part.toString()));
    request.on("end", () => {
      const body: { readonly model: string } = JSON.parse(text);
      seen.push({ url: request.url, token: request.headers.authorization, body });
      const content = text.includes("good") ? "9" : "I would say 3";
      const model = body.model === "judge" ? "judge-1" : body.model;
      response.end(JSON.stringify({ model, choices: [{ message: { content }, finish_reason: "stop" }] }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  // What a socket server listens at is an address with a port.
  const { port } = server.address() as AddressInfo;
  const settings = { model: "judge", rubric: "be kind", min: 0, max: 10, temperature: 0, maxTokens: 4 };
  const url = `http://127.0.0.1:${port}/v1/`;
  const line = createJudgeLine(
    { ...settings, url, prompt: "{rubric}: {prompt}{completion}" },
    { token: () => "s3cret", version },
  );
  return { line, seen };
}

test("asks for each sample with rubric and token, and takes a number alone as its score", async () => {
  const { line, seen } = await judgeLine("");
  const inputs = [sampleInput("good"), sampleInput("bad")];
  const verdicts = await line.call(inputs, AbortSignal.timeout(20_000), "");
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

test("asks for another version as a model of its name, and for its own by the plan's", async () => {
  const { line, seen } = await judgeLine("judge-1");
  for (const version of ["judge-1", "judge-2"]) {
    const verdicts = await line.call([sampleInput("good")], AbortSignal.timeout(20_000), version);
    expect(verdicts).toMatchObject([{ type: "scored", version }]);
  }
  expect(seen).toMatchObject([{ body: { model: "judge" } }, { body: { model: "judge-2" } }]);
});
