/** What tools such as grpcurl read from a server. */
import { Client, credentials } from "@grpc/grpc-js";
import { ActorService } from "@oarlock/proto";
import { describe, expect, it, onTestFinished } from "vitest";
import { RpcServer } from "./server.ts";
import type { ServiceImpl } from "./service.ts";

const idle: ServiceImpl<typeof ActorService> = {
  async *generate() {},
  getStatus: async () => ({}),
  drain: async () => ({}),
};

describe("reflection", () => {
  it("tells tools of every service and its messages", async () => {
    const server = new RpcServer({ graceMs: 500 }).add(ActorService, idle);
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
    expect(await ask([0x3a, 1], "*")).toContain(ActorService.typeName);
    const name = ActorService.typeName;
    const described = await ask([0x22, name.length], name);
    for (const method of ActorService.methods) expect(described).toContain(method.name);
  });
});
