/** The JetStream driver under the contract, against a real server. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sleep } from "@oarlock/runtime";
import { requireNatsServer } from "@oarlock/testkit";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { busContract } from "../contract.ts";
import { connectJetStreamBus, readJetStreamAccount } from "./connect.ts";
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

  it("tells what is stored and promised, and leaves nothing behind", async () => {
    const before = await readJetStreamAccount({ servers: server.url });
    expect(before.serverVersion).toMatch(/^2\.\d+/);
    await using bus = await connectJetStreamBus({ servers: server.url });
    const kept = await bus.objects({ name: "OARLOCK_account", maxBytes: 50_000_000 });
    await kept.put("a", Buffer.alloc(100_000));
    const after = await readJetStreamAccount({ servers: server.url });
    expect(after.streams).toBe(before.streams + 1);
    expect(after.storedBytes).toBeGreaterThan(before.storedBytes + 100_000);
    expect(after.reservedBytes).toBeGreaterThan(before.reservedBytes + 50_000_000);
    // The server of the tests bounds no account.
    expect(after).not.toHaveProperty("maxBytes");
  });
});
