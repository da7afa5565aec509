/** How to reach a NATS server, from the environment: who we are may be in the address, and never stays there. */
import { describe, expect, it } from "vitest";
import { readNatsOptions } from "./config.ts";

describe("NATS settings", () => {
  it.each([
    ["nats://a:4222", { servers: "nats://a:4222" }],
    ["nats://me:s3cret@a:4222", { servers: "nats://a:4222", user: "me", password: "s3cret" }],
    ["tls://me:a%40b%3Ac@a", { servers: "tls://a", user: "me", password: "a@b:c" }],
    ["nats://me:p@ss:100%25%2C@a", { servers: "nats://a", user: "me", password: "p@ss:100%," }],
    ["me:s3cret@a", { servers: "a", user: "me", password: "s3cret" }],
    ["nats://t0ken@a:4222", { servers: "nats://a:4222", token: "t0ken" }],
    [
      "nats://me:s@a:4222, nats://me:s@b:4222",
      { servers: "nats://a:4222,nats://b:4222", user: "me", password: "s" },
    ],
    ["nats://me:s@a,nats://b", { servers: "nats://a,nats://b", user: "me", password: "s" }],
  ])("takes who we are out of %s", (url, expected) =>
    expect(readNatsOptions({ NATS_URL: url })).toEqual({ ...expected, replicas: 1 }),
  );

  it.each([
    [
      { NATS_URL: "nats://me:s3cret@a", NATS_USER: "me" },
      /what NATS_URL says and NATS_USER exclude each other/,
    ],
    [{ NATS_URL: "nats://me:s3cret@a,nats://you:s3cret@b" }, /different users or tokens/],
    [
      { NATS_URL: "nats://a", NATS_USER: "me", NATS_TOKEN: "t" },
      /NATS_USER and NATS_TOKEN exclude each other/,
    ],
  ])("refuses two answers, and shows no password: %o", (environment, words) => {
    expect(() => readNatsOptions(environment)).toThrow(words);
    expect(() => readNatsOptions(environment)).not.toThrow(/s3cret/);
  });

  it.each([
    "nats://me:s3,cret@a",
    "nats://me:4222,s3cret@a",
    "me:4222,s3cret@a",
    "nats://me:s3cret,@a:4222",
    "nats://me:s3cret",
    "nats://me:s3cret%@a",
    "nats://me:s3cret%ff@a",
    "nats://s3cret%zz@a",
  ])("refuses a sign that has to be escaped, says how, and shows no part of a password: %s", (url) => {
    expect(() => readNatsOptions({ NATS_URL: url })).toThrow(/^\[SETTING_INVALID\] NATS_URL.*%2C.*%25/);
    expect(() => readNatsOptions({ NATS_URL: url })).not.toThrow(/s3|cret/);
  });

  it("knows no server without an address", () => expect(readNatsOptions({})).toBeUndefined());
});
