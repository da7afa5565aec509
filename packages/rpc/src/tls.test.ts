/** TLS and mutual TLS with certificates of `fixtures/make.sh`. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { afterEach, expect, it } from "vitest";
import { ActorService, LearnerService } from "@oarlock/proto";
import { openChannel, type RpcChannel } from "./client.ts";
import { RpcServer } from "./server.ts";
import type { TlsOptions } from "./security.ts";

const pem = (name: string): string => readFileSync(new URL(`./fixtures/${name}`, import.meta.url), "utf8");
const pair = (name: string): TlsOptions => ({ cert: pem(`${name}.crt`), key: pem(`${name}.key`) });
const ca = pem("ca.crt");

let server: RpcServer;
const channels: RpcChannel[] = [];
afterEach(async () => {
  for (const channel of channels.splice(0)) channel.close();
  await server.close();
});

async function serve(tls: TlsOptions): Promise<string> {
  server = new RpcServer({ tls, graceMs: 100 });
  return server.listen();
}

function serving(address: string, tls?: TlsOptions): Promise<boolean> {
  const channel = openChannel(address, tls === undefined ? {} : { tls });
  channels.push(channel);
  return channel.isServing(undefined, { timeoutMs: 3_000 });
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  // The type says string for pipes.
  const { port } = listener.address() as AddressInfo;
  await new Promise((resolve) => listener.close(resolve));
  return port;
}

it("serves those who trust its authority, and no plain text", async () => {
  const address = await serve(pair("server"));
  expect(await serving(address, { ca })).toBe(true);
  await expect(serving(address, pair("client"))).rejects.toMatchObject({
    code: expect.stringMatching(/^RPC_UNAVAILABLE|DEADLINE_EXCEEDED$/),
  });
  await expect(serving(address)).rejects.toMatchObject({ retryable: true });
});

it("demands a certificate of its authority when it has one (mutual TLS)", async () => {
  const address = await serve({ ca, ...pair("server") });
  expect(await serving(address, { ca, ...pair("client") })).toBe(true);
  await expect(serving(address, { ca })).rejects.toMatchObject({ retryable: true });
  await expect(serving(address, { ca, ...pair("stranger") })).rejects.toMatchObject({ retryable: true });
});

it("answers probes in plain text on a port of their own, and nothing else there", async () => {
  const healthPort = await freePort();
  server = new RpcServer({ tls: { ca, ...pair("server") }, healthPort, graceMs: 100 });
  server.add(ActorService, {
    async *generate() {},
    getStatus: async () => ({ slots: 7 }),
    drain: async () => ({}),
  });
  const address = await server.listen();
  const plain = `127.0.0.1:${healthPort}`;
  expect(await serving(plain)).toBe(true);
  await expect(serving(address)).rejects.toMatchObject({ retryable: true });
  const channel = openChannel(plain);
  channels.push(channel);
  await expect(channel.client(ActorService).getStatus({})).rejects.toMatchObject({
    code: "RPC_UNIMPLEMENTED",
  });
  server.setServing(false);
  expect(await serving(plain)).toBe(false);
  await server.close();
  await expect(serving(plain)).rejects.toThrow(/^\[(RPC_UNAVAILABLE|ABORTED)\]/);
});

it("X1: says when a certificate comes without its key", async () => {
  server = new RpcServer({ tls: { cert: pem("server.crt") } });
  await expect(server.listen()).rejects.toMatchObject({ code: "RPC_TLS_INVALID" });
  expect(() => openChannel("127.0.0.1:1", { tls: { key: pem("client.key") } })).toThrow(/RPC_TLS_INVALID/);
  expect(LearnerService.typeName).toBe("oarlock.v1.LearnerService");
});
