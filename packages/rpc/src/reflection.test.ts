/** What tools see of a server, and how its security is read from the environment. */
import { fileURLToPath } from "node:url";
import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, it, onTestFinished } from "vitest";
import { ActorService } from "@oarlock/proto";
import { readRpcSecurity } from "./config.ts";
import { RpcServer } from "./server.ts";

describe("reflection", () => {
  it("tells tools of every service and its messages", async () => {
    const server = new RpcServer().add(ActorService, {
      async *generate() {},
      getStatus: async () => ({}),
      drain: async () => ({}),
    });
    const grpc = new Client(await server.listen(), credentials.createInsecure());
    onTestFinished(async () => {
      grpc.close();
      await server.close();
    });
    const bytes = (data: Buffer): Buffer => data;
    const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    const ask = (request: readonly number[], text = ""): Promise<string> =>
      new Promise((resolve, reject) => {
        const call = grpc.makeBidiStreamRequest(path, bytes, bytes);
        call.on("data", (answer: Buffer) => resolve(answer.toString("latin1"))).on("error", reject);
        call.write(Buffer.concat([Buffer.from(request), Buffer.from(text)]));
        call.end();
      });
    // Fields 7 (list_services) and 4 (file_containing_symbol), each with a string.
    const listed = await ask([0x3a, 1], "*");
    for (const one of [ActorService.typeName, "grpc.health.v1.Health"]) expect(listed).toContain(one);
    const name = ActorService.typeName;
    const described = await ask([0x22, name.length], name);
    for (const method of ActorService.methods) expect(described).toContain(method.name);
  });
});

describe("security settings", () => {
  it("are read from files, and refused where they are half", () => {
    const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
    expect(readRpcSecurity({})).toEqual({});
    const pair = { OARLOCK_TLS_CERT: fixture("server.crt"), OARLOCK_TLS_KEY: fixture("server.key") };
    expect(readRpcSecurity({ ...pair, OARLOCK_TOKEN: "t" })).toMatchObject({
      tls: { cert: expect.stringContaining("CERTIFICATE") },
      token: "t",
    });
    expect(() => readRpcSecurity({ OARLOCK_TLS_CERT: fixture("server.crt") })).toThrow(/given together/);
    expect(() => readRpcSecurity({ ...pair, OARLOCK_TLS_CA: "/no/such" })).toThrow(
      /OARLOCK_TLS_CA="\/no\/such"/,
    );
  });
});
