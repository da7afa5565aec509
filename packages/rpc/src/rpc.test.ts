/** The bridge against a real server: kinds of calls, deadlines, cancellation, errors, health, limits, drains, traces. */
import { setTimeout as delay } from "node:timers/promises";
import { create, createFileRegistry, type DescService } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { afterEach, describe, expect, it } from "vitest";
import { OarlockError } from "@oarlock/errors";
import { ActorService, LearnerService } from "@oarlock/proto";
import { createLog, currentTrace, withTrace } from "@oarlock/runtime";
import { openChannel, type RpcChannel, type RpcChannelOptions } from "./client.ts";
import { RpcServer, type RpcServerOptions } from "./server.ts";
import type { CallContext, ServiceImpl } from "./service.ts";

type Actor = ServiceImpl<typeof ActorService>;

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const idle: Actor = {
  async *generate() {},
  getStatus: async () => ({ slots: 7 }),
  drain: async () => ({}),
};

interface Line {
  readonly server: RpcServer;
  readonly channel: RpcChannel;
  readonly actor: ReturnType<typeof clientOf>;
}

const clientOf = (channel: RpcChannel) => channel.client(ActorService);

async function connect(
  impl: Partial<Actor> = {},
  options: { server?: RpcServerOptions; channel?: RpcChannelOptions } = {},
): Promise<Line> {
  const server = new RpcServer({ graceMs: 500, ...options.server }).add(ActorService, { ...idle, ...impl });
  const address = await server.listen();
  closing.push(() => server.close());
  const channel = openChannel(address, options.channel);
  closing.push(() => channel.close());
  return { server, channel, actor: clientOf(channel) };
}

const forever: Actor["generate"] = async function* (_, call) {
  while (!call.signal.aborted) {
    yield { event: { case: "tokens", value: { tokenIds: [7] } } };
    await delay(2);
  }
};

async function failure(work: Promise<unknown>): Promise<OarlockError> {
  const reason: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(reason).toBeInstanceOf(OarlockError);
  return reason as OarlockError;
}

async function drainAll<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe("calls", () => {
  it("answers unary calls and streams, with floats and bytes as they were", async () => {
    const logprobs = [Math.fround(-0.1), Math.fround(-12.5), -0];
    const { actor } = await connect({
      async *generate(request) {
        for (const token of request.promptTokens) {
          yield { sample: 1, event: { case: "tokens", value: { tokenIds: [token], logprobs } } };
        }
      },
    });
    expect((await actor.getStatus({})).slots).toBe(7);
    const answers = await drainAll(actor.generate({ promptTokens: [3, 1, 2] }));
    expect(answers.map(({ event }) => (event.case === "tokens" ? event.value.tokenIds : []))).toEqual([
      [3],
      [1],
      [2],
    ]);
    expect(answers[0]?.event.value).toMatchObject({ logprobs });
  });

  it("refuses a service that streams requests, on both sides", async () => {
    const { channel, server } = await connect();
    const service = streamingService();
    expect(() => channel.client(service)).toThrow("test.TextService/Collect takes a stream");
    // No function fits such a method.
    const impl = { collect: async () => ({}) } as unknown as ServiceImpl<DescService>;
    expect(() => server.add(service, impl)).toThrow("RPC_KIND_UNSUPPORTED");
  });

  it("holds a fast producer back until the reader takes more (Q1)", async () => {
    let made = 0;
    const { actor } = await connect({
      async *generate() {
        for (; made < 4_000; made++)
          yield {
            event: { case: "tokens", value: { tokenIds: Array.from({ length: 2_000 }, () => 1 << 20) } },
          };
      },
    });
    const stream = actor.generate({})[Symbol.asyncIterator]();
    await stream.next();
    await delay(300);
    expect(made).toBeLessThan(2_000);
    await stream.return?.();
  });
});

describe("L1: deadlines and cancellation", () => {
  it("ends a call at its deadline on both sides and names it", async () => {
    let aborted: unknown;
    const { actor, channel } = await connect({
      async getStatus(_, call) {
        await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
        aborted = call.signal.reason;
        return {};
      },
    });
    const error = await failure(actor.getStatus({}, { timeoutMs: 100 }));
    expect(error).toMatchObject({ code: "DEADLINE_EXCEEDED", retryable: true });
    expect(error.message).toContain(`oarlock.v1.ActorService/GetStatus at ${channel.address}`);
    await expect.poll(() => aborted).toMatchObject({ code: "ABORTED" });
  });

  it("ends a stream at its deadline", async () => {
    const { actor } = await connect({ generate: forever });
    expect((await failure(drainAll(actor.generate({}, { timeoutMs: 100 })))).code).toBe("DEADLINE_EXCEEDED");
  });

  it("stops the server's work when the reader leaves the loop", async () => {
    let ended = false;
    const { actor } = await connect({
      async *generate(request, call) {
        try {
          yield* forever(request, call);
        } finally {
          ended = true;
        }
      },
    });
    let seen = 0;
    for await (const answer of actor.generate({})) {
      expect(answer.event.case).toBe("tokens");
      if (++seen === 3) break;
    }
    await expect.poll(() => ended).toBe(true);
  });

  it("follows the caller's signal, before and during a call", async () => {
    const { actor } = await connect({
      getStatus: (_, call) =>
        new Promise((resolve) => call.signal.addEventListener("abort", () => resolve({}))),
      generate: forever,
    });
    expect((await failure(actor.getStatus({}, { signal: AbortSignal.abort() }))).code).toBe("ABORTED");
    expect((await failure(actor.getStatus({}, { signal: AbortSignal.timeout(50) }))).code).toBe("ABORTED");
    expect((await failure(drainAll(actor.generate({}, { signal: AbortSignal.timeout(50) })))).code).toBe(
      "ABORTED",
    );
  });
});

describe("errors", () => {
  it("cross the wire with code, message, retryability and causes", async () => {
    const { actor } = await connect({
      async getStatus() {
        throw new OarlockError("POLICY_MISSING", "policy 4 is not held", {
          cause: new Error("evicted"),
          retryable: true,
        });
      },
      async *generate() {
        yield { event: { case: "finishReason", value: 1 } };
        throw new OarlockError("PROMPT_INVALID", "no tokens");
      },
    });
    const error = await failure(actor.getStatus({}));
    expect(error).toMatchObject({
      code: "POLICY_MISSING",
      rawMessage: "policy 4 is not held",
      retryable: true,
    });
    expect(error.cause).toMatchObject({ message: "evicted" });
    expect(await failure(drainAll(actor.generate({})))).toMatchObject({
      code: "PROMPT_INVALID",
      retryable: false,
    });
  });

  it("that are bugs become UNEXPECTED, and their stack stays in the server's log", async () => {
    const lines: string[] = [];
    const log = createLog({ write: (line) => lines.push(line) });
    const { actor } = await connect(
      {
        async getStatus() {
          throw new TypeError("x is undefined");
        },
      },
      { server: { log } },
    );
    const error = await failure(actor.getStatus({}));
    expect(error).toMatchObject({ code: "UNEXPECTED", rawMessage: "TypeError: x is undefined" });
    expect(JSON.parse(lines[0]!)).toMatchObject({ level: "error", rpc: "oarlock.v1.ActorService/GetStatus" });
    expect(lines[0]).toContain("rpc.test.ts");
  });

  it("too long for a trailer are shortened, not lost", async () => {
    const { actor } = await connect({
      async getStatus() {
        throw new OarlockError("PLAN_REFUSED", "é".repeat(20_000));
      },
    });
    expect((await failure(actor.getStatus({}))).code).toBe("PLAN_REFUSED");
  });

  it("of a server that is not there, or does not know the service, are ours too", async () => {
    const { channel, server } = await connect();
    expect((await failure(channel.client(LearnerService).pause({}))).code).toBe("RPC_UNIMPLEMENTED");
    await server.close();
    expect(await failure(channel.client(ActorService).getStatus({}, { timeoutMs: 2_000 }))).toMatchObject({
      code: "RPC_UNAVAILABLE",
      retryable: true,
    });
  });

  it("name a port that is taken", async () => {
    const { channel } = await connect();
    const port = Number(channel.address.split(":")[1]);
    expect((await failure(new RpcServer({ port }).listen())).code).toBe("RPC_BIND_FAILED");
  });
});

describe("limits and access", () => {
  it("Q1: refuses messages above the limit on either side", async () => {
    const { actor } = await connect({}, { server: { maxMessageBytes: 10_000 } });
    const promptTokens = Array.from({ length: 20_000 }, () => 1);
    expect((await failure(drainAll(actor.generate({ promptTokens })))).code).toBe("RPC_RESOURCE_EXHAUSTED");
    expect((await actor.getStatus({})).slots).toBe(7);
  });

  it("asks for the bearer token, but not for health checks", async () => {
    const { channel, actor } = await connect({ generate: forever }, { server: { token: "s3cret" } });
    expect((await failure(actor.getStatus({}))).code).toBe("RPC_UNAUTHENTICATED");
    expect((await failure(drainAll(actor.generate({})))).code).toBe("RPC_UNAUTHENTICATED");
    expect(await channel.isServing()).toBe(true);
    const wrong = openChannel(channel.address, { token: "s3cres" });
    const right = openChannel(channel.address, { token: "s3cret" });
    closing.push(
      () => wrong.close(),
      () => right.close(),
    );
    expect((await failure(clientOf(wrong).getStatus({}))).code).toBe("RPC_UNAUTHENTICATED");
    expect((await clientOf(right).getStatus({})).slots).toBe(7);
  });
});

describe("health and end", () => {
  it("says per service whether it serves", async () => {
    const { channel, server } = await connect();
    expect([await channel.isServing(), await channel.isServing(ActorService)]).toEqual([true, true]);
    expect(await channel.isServing(LearnerService)).toBe(false);
    server.setServing(false, ActorService);
    expect([await channel.isServing(), await channel.isServing(ActorService)]).toEqual([true, false]);
  });

  it("lets calls in flight finish within the grace, and tells streams to end", async () => {
    const { actor, server } = await connect(
      {
        async getStatus() {
          await delay(150);
          return { slots: 9 };
        },
        async *generate(_, call: CallContext) {
          while (!call.draining.aborted) {
            yield { event: { case: "tokens", value: { tokenIds: [1] } } };
            await delay(2);
          }
          yield { event: { case: "finishReason", value: 3 } };
        },
      },
      { server: { graceMs: 5_000 } },
    );
    const stream = drainAll(actor.generate({}));
    const status = actor.getStatus({});
    await delay(50);
    const startedMs = performance.now();
    await server.close();
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    expect((await status).slots).toBe(9);
    expect((await stream).at(-1)?.event).toEqual({ case: "finishReason", value: 3 });
  });

  it("aborts what is left when the grace is over", async () => {
    let aborted: unknown;
    const { actor, server } = await connect(
      {
        getStatus: (_, call) =>
          new Promise((_resolve, reject) => {
            call.signal.addEventListener("abort", () => {
              aborted = call.signal.reason;
              reject(call.signal.reason);
            });
          }),
      },
      { server: { graceMs: 100 } },
    );
    const call = failure(actor.getStatus({}));
    await delay(50);
    await server.close();
    expect(aborted).toMatchObject({ code: "DRAINING" });
    expect((await call).retryable).toBe(true);
  });
});

describe("trace context", () => {
  it("passes along calls and streams, and garbage never stops a call", async () => {
    const seen: (string | undefined)[] = [];
    const { actor } = await connect({
      async getStatus() {
        await delay(1);
        seen.push(currentTrace()?.traceId, currentTrace()?.state);
        return {};
      },
      async *generate() {
        await delay(1);
        seen.push(currentTrace()?.traceId);
        yield {};
      },
    });
    const context = { traceId: "a".repeat(32), spanId: "b".repeat(16), flags: 1, state: "x=y" };
    await withTrace(context, async () => {
      await actor.getStatus({});
      await drainAll(actor.generate({}));
    });
    await actor.getStatus({});
    await withTrace({ ...context, traceId: "zz" }, () => actor.getStatus({}));
    expect(seen).toEqual([
      context.traceId,
      "x=y",
      context.traceId,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});

/** A service with a kind of method that `oarlock.v1` does not have. */
function streamingService(): DescService {
  const file = create(FileDescriptorProtoSchema, {
    name: "text.proto",
    package: "test",
    syntax: "proto3",
    messageType: [{ name: "Text" }],
    service: [
      {
        name: "TextService",
        method: [
          { name: "Collect", inputType: ".test.Text", outputType: ".test.Text", clientStreaming: true },
        ],
      },
    ],
  });
  const service = createFileRegistry(file, () => undefined).getService("test.TextService");
  if (service === undefined) throw new OarlockError("TEST_BROKEN", "no such service");
  return service;
}
