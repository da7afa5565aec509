import { expect, it } from "vitest";
import { errnoOf, shellWord, withoutCredentials } from "./index.ts";

it("the system's code is that of an error with one", () => {
  const codes = [Object.assign(new Error("no"), { code: "ENOENT" }), new Error("no"), { code: "ENOENT" }, 1];
  expect(codes.map(errnoOf)).toEqual(["ENOENT", undefined, undefined, undefined]);
});

it.each([
  ["nats://me:s3cret@a:4222", "nats://…@a:4222"],
  ["tls://t0ken@a,tls://t0ken@b", "tls://…@b"],
  ["nats://me:p@ss/w:rd@a", "nats://…@a"],
  ['{"url":"http://me:a\\"b c@h/x","more":"a@b"}', '{"url":"http://…@h/x","more":"a@b"}'],
  ["hf://org/model@main", "hf://org/model@main"],
  ["nats://a:4222,nats://b", "nats://a:4222,nats://b"],
  ["me@example.com", "me@example.com"],
])("%s is shown as %s", (text, shown) => expect(withoutCredentials(text)).toBe(shown));

it.each([
  ["runs/a-1.2", "runs/a-1.2"],
  ["stages.grpo.steps=50", "stages.grpo.steps=50"],
  ["hf://org/model@main", "hf://org/model@main"],
  ["my runs/k", "'my runs/k'"],
  ["it's", String.raw`'it'\''s'`],
  ["$HOME;rm *", "'$HOME;rm *'"],
  ["~/a", "'~/a'"],
  ["ünï", "'ünï'"],
  ["", "''"],
])("%s is %s in a command", (text, word) => expect(shellWord(text)).toBe(word));
