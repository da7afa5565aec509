import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { patientFetch, tokenToEndpoint } from "./patient-fetch.ts";

/** A server that answers each request by the next of `answers`, and the last one for ever. */
async function server(
  answers: readonly ((response: ServerResponse) => void)[],
): Promise<{ url: string; asked: () => number }> {
  let asked = 0;
  const http = createServer((_, response) => answers[Math.min(asked++, answers.length - 1)]?.(response));
  await new Promise<void>((listening) => http.listen(0, "127.0.0.1", listening));
  onTestFinished(() => {
    http.closeAllConnections();
    http.close();
  });
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, asked: () => asked };
}

const cut = (response: ServerResponse): void => void response.destroy();
const busy = (retryAfter: string) => (response: ServerResponse) =>
  void response.writeHead(503, { "retry-after": retryAfter }).end("busy");
const fine = (response: ServerResponse): void => void response.end("fine");

describe("a patient fetch", () => {
  it("asks again where a connection breaks or the hub is busy", async () => {
    const { url, asked } = await server([cut, busy("0"), fine]);
    expect(await (await patientFetch(undefined)(url)).text()).toBe("fine");
    expect(asked()).toBe(3);
  });

  it("gives the hub's own answer where that does not pass, or would take too long", async () => {
    const always = await server([busy("0")]);
    expect((await patientFetch(undefined)(always.url)).status).toBe(503);
    expect(always.asked()).toBe(4);
    const tomorrow = await server([busy("86400")]);
    expect((await patientFetch(undefined)(tomorrow.url)).status).toBe(503);
    expect(tomorrow.asked()).toBe(1);
    const broken = await server([cut]);
    await expect(patientFetch(undefined)(broken.url)).rejects.toThrow(/fetch failed/);
    expect(broken.asked()).toBe(4);
  });

  it("stops when told, also while it waits", async () => {
    const { url } = await server([busy("30")]);
    const stop = new AbortController();
    const asking = patientFetch(stop.signal)(url);
    setTimeout(() => stop.abort(new Error("enough")), 50);
    await expect(asking).rejects.toThrow(/abort/);
  });
});

it("the token goes to the hub's own address, and to no other that it names", async () => {
  const seen: (string | undefined)[] = [];
  const http = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end();
  });
  await new Promise<void>((listening) => http.listen(0, "127.0.0.1", listening));
  onTestFinished(() => void http.close());
  const { port } = http.address() as AddressInfo;
  const ask = tokenToEndpoint(fetch, `http://127.0.0.1:${port}/mirror`);
  const init = { headers: { Authorization: "Bearer hf_secret", connection: "close" } };
  await ask(`http://127.0.0.1:${port}/api`, init);
  await ask(new URL(`http://localhost:${port}/store`), init);
  expect(seen).toEqual(["Bearer hf_secret", undefined]);
});
