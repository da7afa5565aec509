/** What the driver does when the server goes away, refuses, or is not what it needs: each against a real server. */
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { jetstream } from "@nats-io/jetstream";
import { connect, errors, nkeys } from "@nats-io/transport-node";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { causeChain } from "@oarlock/errors";
import { requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { WaitRegistry, sleep } from "@oarlock/runtime";
import type { Environment } from "@oarlock/runtime";
import { subjects } from "../subjects.ts";
import type { Bus, Consumer, Stream } from "../types.ts";
import { readNatsOptions } from "./config.ts";
import { connectJetStreamBus } from "./connect.ts";
import type { JetStreamBusOptions } from "./connect.ts";
import { findNatsServer, startNatsServer } from "./server-process.ts";
import type { NatsServer } from "./server-process.ts";

const program = requireNatsServer();
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);
const names = subjects("resilience-1");

async function start(
  options: { folder?: string; port?: number; configuration?: string } = {},
): Promise<NatsServer> {
  const folder = options.folder ?? temporaryFolder("nats");
  const server = await startNatsServer({ path: program.path, folder, ...options });
  onTestFinished(() => server.stop("SIGKILL"));
  return server;
}

async function open(server: { url: string }, options: Partial<JetStreamBusOptions> = {}): Promise<Bus> {
  const bus = await connectJetStreamBus({ servers: server.url, ...options });
  onTestFinished(() => bus.close());
  return bus;
}

async function queue(bus: Bus): Promise<{ stream: Stream; consumer: Consumer }> {
  const stream = await bus.stream({
    name: names.workStream,
    subjects: [names.workRollout],
    retention: "work-queue",
    maxMessages: 1_000,
    maxBytes: 10_000_000,
  });
  return { stream, consumer: await stream.consumer({ name: "c", ackWaitMs: 1_500, maxAckPending: 100 }) };
}

/** The server stores what is published on `subject`, and so many times its answer does not come. */
async function loseAcknowledgements(
  server: NatsServer,
  subject: string,
  losses: number,
): Promise<{ mockRestore(): void }> {
  const connection = await connect({ servers: server.url });
  const client = jetstream(connection);
  await connection.close();
  const prototype = Object.getPrototypeOf(client) as typeof client;
  const publish = Reflect.get(prototype, "publish") as (typeof client)["publish"];
  let left = losses;
  return vi.spyOn(prototype, "publish").mockImplementation(async function (this: typeof client, ...message) {
    const ack = await publish.apply(this, message);
    if (message[0] === subject && left-- > 0) throw new errors.TimeoutError();
    return ack;
  });
}

describe.skipIf(program.absent)(`the jetstream driver${program.note}`, () => {
  it("T1: survives restarts of the server while it publishes, pulls, acknowledges and stores", async () => {
    const folder = temporaryFolder("nats");
    const first = await start({ folder });
    const [sender, receiver] = [await open(first), await open(first)];
    const { stream } = await queue(sender);
    const { consumer } = await queue(receiver);
    const kv = await sender.kv({ name: names.stateBucket });
    const objects = await sender.objects({ name: names.policyBucket, maxBytes: 20_000_000 });
    const seen = new Map<string, number>();
    const stop = new AbortController();
    const reading = (async () => {
      for await (const message of consumer.messages({ signal: stop.signal })) {
        await message.ack();
        seen.set(text(message.data), (seen.get(text(message.data)) ?? 0) + 1);
      }
    })();
    const content = new Uint8Array(2_500_000).map((_, index) => index & 255);
    let server = first;
    const disturb = (async () => {
      for (const signal of ["SIGKILL", "SIGTERM"] as const) {
        await sleep(300);
        await server.stop(signal);
        await sleep(300);
        server = await start({ folder, port: first.port });
      }
    })();
    const sent: string[] = [];
    for (let index = 0; index < 40; index++) {
      await Promise.all([
        stream.publish(names.workRollout, bytes(`m${index}`), { msgId: `m${index}` }),
        kv.put("position", bytes(String(index))),
        objects.put("weights", content),
        sleep(40),
      ]);
      sent.push(`m${index}`);
    }
    await disturb;
    await expect.poll(() => seen.size, { timeout: 20_000 }).toBe(sent.length);
    stop.abort();
    await reading;
    expect([...seen.keys()].toSorted()).toEqual(sent.toSorted());
    expect((await stream.info()).messages).toBe(0);
    expect(text((await kv.get("position"))!.value)).toBe("39");
    const parts: Uint8Array[] = [];
    for await (const part of objects.get("weights")) parts.push(part);
    expect(Buffer.concat(parts).equals(content)).toBe(true);
  });

  it("T1: takes answers to deliveries that a dead server has forgotten", async () => {
    const folder = temporaryFolder("nats");
    const server = await start({ folder });
    const { stream, consumer } = await queue(await open(server));
    for (const name of ["a", "b", "c", "d"]) await stream.publish(names.workRollout, bytes(name));
    await (await consumer.next({ timeoutMs: 2_000 }))!.ack();
    await sleep(1_500); // the server has written down where the consumer is
    const held = await Promise.all([1, 2, 3].map(() => consumer.next({ timeoutMs: 2_000 })));
    await server.stop("SIGKILL");
    await start({ folder, port: server.port });
    const startMs = performance.now();
    await Promise.all([held[0]!.ack(), held[1]!.term("poison"), held[2]!.nak()]);
    expect(performance.now() - startMs).toBeLessThan(12_000);
    const again = await consumer.next({ timeoutMs: 5_000 });
    expect(text(again!.data)).toBe(text(held[2]!.data));
    await again!.ack();
    expect(await stream.info()).toMatchObject({ messages: 0, parked: [{ reason: "poison" }] });
  });

  it("L1: names what it waits for while the server is away, and gives up when its patience ends", async () => {
    const server = await start();
    const registry = new WaitRegistry();
    const bus = await open(server, { patienceMs: 1_500, requestTimeoutMs: 400, registry });
    const { stream } = await queue(bus);
    await server.stop("SIGKILL");
    const refused = expect(stream.publish(names.workRollout, bytes("a"))).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      retryable: true,
    });
    expect(registry.open().map(({ name }) => name)).toContain(
      `nats-server at ${server.url.replace("nats://", "")} to store a message on ${names.workRollout}`,
    );
    await refused;
  });

  it.each([
    ["once", 1],
    ["until the patience is over", Infinity],
  ])("T1: what lies beside a message survives that its acknowledgement is lost %s", async (_, losses) => {
    const server = await start();
    const bus = await open(server, { patienceMs: 1_000 });
    const stream = await bus.stream({
      name: names.workStream,
      subjects: [names.workRollout],
      retention: "work-queue",
      maxMessages: 10,
      maxBytes: 20_000_000,
      oversize: "store",
    });
    const consumer = await stream.consumer({ name: "c", ackWaitMs: 1_500, maxAckPending: 10 });
    const large = new Uint8Array(bus.maxPayloadBytes + 5).fill(7);
    const losing = await loseAcknowledgements(server, names.workRollout, losses);
    const first = stream.publish(names.workRollout, large, { msgId: "large" });
    if (losses === 1) expect(await first).toMatchObject({ duplicate: true });
    else await expect(first).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    losing.mockRestore();
    expect(await stream.publish(names.workRollout, large, { msgId: "large" })).toMatchObject({
      duplicate: true,
    });
    const message = await consumer.next({ timeoutMs: 2_000 });
    expect(message?.data).toHaveLength(large.length);
    await message?.ack();
    const beside = await bus.findObjects(`${names.workStream}_OVERSIZE`);
    expect(await beside?.list()).toEqual([]);
  });

  it("says what is gone when the server lost its storage", async () => {
    const folder = temporaryFolder("nats");
    const server = await start({ folder });
    const bus = await open(server);
    const { stream, consumer } = await queue(bus);
    const kv = await bus.kv({ name: names.stateBucket });
    const objects = await bus.objects({ name: names.policyBucket, maxBytes: 1_000 });
    await server.stop("SIGKILL");
    rmSync(join(folder, "store"), { recursive: true });
    await start({ folder, port: server.port });
    const gone = { code: "BUS_STREAM_GONE" };
    await expect(consumer.next({ timeoutMs: 20_000 })).rejects.toMatchObject({ code: "BUS_CONSUMER_GONE" });
    await expect(stream.publish(names.workRollout, bytes("a"))).rejects.toMatchObject(gone);
    await expect(kv.put("run", bytes("a"))).rejects.toMatchObject(gone);
    await expect(objects.put("x", bytes("a"))).rejects.toThrow(/stream not found/);
  });

  it("gives a message to another reader at once when its pull is withdrawn", async () => {
    const { stream, consumer } = await queue(await open(await start()));
    for (let turn = 0; turn < 20; turn++) {
      const stop = new AbortController();
      const left = consumer.next({ timeoutMs: 5_000, signal: stop.signal });
      const published = stream.publish(names.workRollout, bytes("a"));
      if (turn % 2 === 0) await sleep(turn / 10);
      stop.abort();
      const taken = (await left.catch(() => undefined)) ?? (await consumer.next({ timeoutMs: 1_000 }));
      expect(taken).toBeDefined();
      await taken!.ack();
      await published;
    }
    expect((await stream.info()).messages).toBe(0);
  });
});

describe.skipIf(program.absent)(`who may use a server${program.note}`, () => {
  it.each([
    ["user and password", 'authorization { user: "u", password: "p" }', { user: "u", password: "p" }],
    ["token", 'authorization { token: "t" }', { token: "t" }],
  ])("by %s; others are refused at once", async (_, configuration, identity) => {
    const server = await start({ configuration });
    await queue(await open(server, identity));
    const startMs = performance.now();
    await expect(open(server)).rejects.toMatchObject({ code: "BUS_REFUSED" });
    await expect(open(server, { user: "u", password: "wrong" })).rejects.toMatchObject({
      code: "BUS_REFUSED",
    });
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });

  it("by a credentials file", async () => {
    const { configuration, credentials } = decentralised();
    const file = join(temporaryFolder("creds"), "user.creds");
    writeFileSync(file, credentials);
    const server = await start({ configuration });
    const options = readNatsOptions({ NATS_URL: server.url, NATS_CREDS: file });
    await queue(await open(server, options));
    await expect(open(server)).rejects.toMatchObject({ code: "BUS_REFUSED" });
  });

  it("by mutual TLS, as the environment says", async () => {
    const { caFile, certFile, keyFile } = tlsFiles("server");
    const server = await start({
      configuration: `tls { cert_file: "${certFile}", key_file: "${keyFile}", ca_file: "${caFile}", verify: true }`,
    });
    const url = server.url.replace("nats://", "tls://");
    const as = (name: string): Partial<JetStreamBusOptions> => {
      const files = tlsFiles(name);
      const environment = { NATS_CA: files.caFile, NATS_CERT: files.certFile, NATS_KEY: files.keyFile };
      return { connectTimeoutMs: 2_000, ...readNatsOptions({ NATS_URL: url, ...environment }) };
    };
    await queue(await open({ url }, as("client")));
    await expect(open({ url }, as("stranger"))).rejects.toThrow(/BUS_(REFUSED|UNREACHABLE)/);
  });

  it("by a password over TLS, as the environment says; a server of an unknown authority is refused", async () => {
    const { caFile, certFile, keyFile } = tlsFiles("server");
    const server = await start({
      configuration: `tls { cert_file: "${certFile}", key_file: "${keyFile}" }\nauthorization { user: "u", password: "p" }`,
    });
    const url = server.url.replace("nats://", "tls://");
    const environment = { NATS_URL: url, NATS_USER: "u", NATS_PASSWORD: "p", NATS_CA: caFile };
    const as = (changed: Environment): Promise<Bus> =>
      open({ url }, readNatsOptions({ ...environment, ...changed }));
    await queue(await as({}));
    // As a Secret holds both (spec.nats.urlSecretRef).
    const inside = { NATS_URL: url.replace("tls://", "tls://u:p@"), NATS_USER: undefined };
    await queue(await as({ ...inside, NATS_PASSWORD: undefined }));
    for (const changed of [{ NATS_PASSWORD: "wrong" }, { NATS_CA: undefined }])
      await expect(as(changed)).rejects.toMatchObject({ code: "BUS_REFUSED" });
  });

  it("is refused where JetStream is off", async () => {
    const port = await freePort();
    const child = spawn(program.path, ["-a", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
    onTestFinished(() => void child.kill("SIGKILL"));
    await expect(open({ url: `nats://127.0.0.1:${port}` })).rejects.toMatchObject({
      code: "BUS_JETSTREAM_DISABLED",
    });
  });
});

describe("a server that is not there or not right", () => {
  it("is said not to answer, by an address without a password", async () => {
    const at = `127.0.0.1:${await freePort()}`;
    const nowhere = connectJetStreamBus({ servers: `nats://me:s3cret@${at}`, connectTimeoutMs: 500 });
    const said = await nowhere.catch((reason: unknown) => causeChain(reason).join("; "));
    expect(said).toMatch(new RegExp(`^\\[BUS_UNREACHABLE\\] no NATS server answers at nats://…@${at}: `));
    expect(said).not.toContain("s3cret");
  });

  it("X1: older than 2.11 is refused in one sentence", async () => {
    const old = createServer((socket) => {
      const info = { server_id: "x", version: "2.10.27", proto: 1, max_payload: 1_048_576, jetstream: true };
      socket.write(`INFO ${JSON.stringify(info)}\r\n`);
      socket.on("data", (data) => data.toString().includes("PING") && socket.write("PONG\r\n"));
      socket.on("error", () => undefined);
    });
    await new Promise<void>((resolve) => old.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void old.close());
    const { port } = old.address() as AddressInfo;
    await expect(connectJetStreamBus({ servers: `nats://127.0.0.1:${port}` })).rejects.toThrow(
      `[BUS_SERVER_TOO_OLD] nats-server 2.10.27 at 127.0.0.1:${port}; accepted: 2.11 or newer`,
    );
  });
});

describe("settings", () => {
  it("come from the environment", () => {
    expect(readNatsOptions({})).toBeUndefined();
    expect(
      readNatsOptions({ NATS_URL: "nats://a:1", NATS_USER: "u", NATS_PASSWORD: "p", NATS_CA: "/ca" }),
    ).toEqual({
      servers: "nats://a:1",
      user: "u",
      password: "p",
      tls: { caFile: "/ca" },
      replicas: 1,
    });
  });

  it("X1: contradict each other with a sentence", () => {
    const url = { NATS_URL: "nats://a:1" };
    expect(() => readNatsOptions({ ...url, NATS_USER: "u", NATS_TOKEN: "t" })).toThrow(
      /NATS_USER and NATS_TOKEN/,
    );
    expect(() => readNatsOptions({ ...url, NATS_CERT: "c" })).toThrow(/NATS_CERT and NATS_KEY/);
    expect(() => readNatsOptions({ ...url, NATS_CREDS: "/no/such" })).toThrow(/NATS_CREDS="\/no\/such"/);
    const other = fileURLToPath(import.meta.url);
    expect(() => readNatsOptions({ ...url, NATS_CREDS: other })).toThrow(/holds no JWT and seed/);
  });

  it("find the server on the PATH, or not", () => {
    const none = { path: undefined, tooOld: [] };
    expect(findNatsServer({ PATH: "/no/such:/neither" })).toEqual(none);
    expect(findNatsServer({})).toEqual(none);
    const root = temporaryFolder("path");
    const folders = ["old", "new", "silent"].map((name) => join(root, name));
    const answers = ["echo nats-server: v2.9.10", "echo nats-server: v2.11.0", "exit 1"];
    folders.forEach((folder, i) => {
      mkdirSync(folder);
      writeFileSync(join(folder, "nats-server"), `#!/bin/sh\n${answers[i]}\n`, { mode: 0o755 });
    });
    const [old = "", fresh = "", silent = ""] = folders;
    const tooOld = [`nats-server 2.9.10 at ${join(old, "nats-server")}`];
    expect(findNatsServer({ PATH: old })).toEqual({ path: undefined, tooOld });
    expect(findNatsServer({ PATH: `${old}:${fresh}` })).toEqual({ path: join(fresh, "nats-server"), tooOld });
    expect(findNatsServer({ PATH: `${silent}:${old}` }).path).toBe(join(silent, "nats-server"));
  });
});

/** Made by the RPC package's `make.sh`. */
function tlsFiles(name: string): { readonly [File in "caFile" | "certFile" | "keyFile"]: string } {
  const file = (of: string): string =>
    fileURLToPath(new URL(`../../../rpc/src/fixtures/${of}`, import.meta.url));
  return { caFile: file("ca.crt"), certFile: file(`${name}.crt`), keyFile: file(`${name}.key`) };
}

/** An operator with one account that may use JetStream, and one user of it: what `nsc` would make. */
function decentralised(): { readonly configuration: string; readonly credentials: string } {
  const [operator, account, system, user] = [
    nkeys.createOperator(),
    nkeys.createAccount(),
    nkeys.createAccount(),
    nkeys.createUser(),
  ];
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString("base64url");
  const token = (issuer: typeof operator, subject: typeof operator, nats: object): string => {
    const head = encode({ typ: "JWT", alg: "ed25519-nkey" });
    const claims = { jti: "x", iat: 1_700_000_000, iss: issuer.getPublicKey(), sub: subject.getPublicKey() };
    const signed = `${head}.${encode({ ...claims, name: "test", nats: { version: 2, ...nats } })}`;
    return `${signed}.${Buffer.from(issuer.sign(bytes(signed))).toString("base64url")}`;
  };
  const none = {
    subs: -1,
    data: -1,
    payload: -1,
    imports: -1,
    exports: -1,
    wildcards: true,
    conn: -1,
    leaf: -1,
  };
  const store = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const accountToken = token(operator, account, { type: "account", limits: { ...none, ...store } });
  const systemToken = token(operator, system, { type: "account", limits: none });
  const userToken = token(account, user, { type: "user", pub: {}, sub: {}, subs: -1, data: -1, payload: -1 });
  const configuration = [
    `operator: ${token(operator, operator, { type: "operator" })}`,
    `system_account: ${system.getPublicKey()}`,
    "resolver: MEMORY",
    `resolver_preload: { ${account.getPublicKey()}: ${accountToken}, ${system.getPublicKey()}: ${systemToken} }`,
  ].join("\n");
  const credentials = [
    `-----BEGIN NATS USER JWT-----\n${userToken}\n------END NATS USER JWT------`,
    `-----BEGIN USER NKEY SEED-----\n${text(user.getSeed())}\n------END USER NKEY SEED------\n`,
  ].join("\n\n");
  return { configuration, credentials };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
