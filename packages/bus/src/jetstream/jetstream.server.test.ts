/** The JetStream driver under the contract, against a real server. */
import { afterAll, beforeAll, describe } from "vitest";
import { sleep } from "@oarlock/runtime";
import { requireNatsServer } from "@oarlock/testkit";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { busContract } from "../contract.ts";
import { connectJetStreamBus } from "./connect.ts";
import { startNatsServer } from "./server-process.ts";
import type { NatsServer } from "./server-process.ts";

const program = requireNatsServer();

describe.skipIf(program.absent)(`jetstream${program.note}`, () => {
  let server: NatsServer;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "oarlock-nats-"));
    server = await startNatsServer({ path: program.path, folder });
  });
  afterAll(async () => {
    await server.stop("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });

  busContract("jetstream", async () => ({
    bus: await connectJetStreamBus({ servers: server.url }),
    pass: (deltaMs) => sleep(deltaMs),
  }));
});
