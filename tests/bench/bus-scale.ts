/**
 * The bus under simulated actors, which compute nothing: groups per second from work over generated and scored to admitted,
 * with the product's own loop and a real nats-server, against publishing and consuming the same bytes with the same client.
 */
import { setMaxListeners } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectJetStreamBus, startNatsServer, subjects, WorkLoop } from "@oarlock/bus";
import type { Bus, Consumer, Stream } from "@oarlock/bus";
import { requireNatsServer } from "@oarlock/testkit";
import type { BenchRow, SkippedRow } from "./row.ts";

/** A group of 16 samples of 128 tokens, as a message. */
const GROUP_BYTES = 20_000;
const WORK_BYTES = 500;
const ACTORS = [1, 10, 100, 1_000];
const MEASURE_MS = 4_000;
/** Pulls under way of the learner and of a reward worker, as in the services. */
const PULLS = 16;
/** Groups issued and not admitted: what Q1 would bound, with enough for every actor. */
const inFlight = (actors: number): number => Math.max(64, 2 * actors);

interface Place {
  readonly work: Stream;
  readonly trajectories: Stream;
}

const READER = { ackWaitMs: 30_000, maxAckPending: 10_000 };
let uids = 0;

export async function rows(): Promise<readonly (BenchRow | SkippedRow)[]> {
  const program = requireNatsServer();
  if (program.absent) return [{ name: "bus.groups", skipped: program.note }];
  const folder = mkdtempSync(join(tmpdir(), "oarlock-bench-nats-"));
  const server = await startNatsServer({ path: program.path, folder });
  // One for the learner, one for reward workers, two for actors: as many as there would be processes.
  const buses = await Promise.all([0, 1, 2, 3].map(() => connectJetStreamBus({ servers: server.url })));
  try {
    const raw = await rawRate(buses);
    const measured: BenchRow[] = [row("bus.raw", raw, "messages/s")];
    for (const actors of ACTORS) {
      const { groupsPerSecond, bytesPerActor } = await pipelineRate(buses, actors);
      measured.push(
        {
          ...row(`bus.groups.${actors}_actors`, groupsPerSecond, "groups/s"),
          ratio: groupsPerSecond / raw,
          relative_to: "bus.raw",
        },
        row(`bus.memory.${actors}_actors`, bytesPerActor / 1024, "KiB/actor"),
      );
    }
    return measured;
  } finally {
    await Promise.all(buses.map((bus) => bus.close()));
    await server.stop("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

const row = (name: string, value: number, unit: string): BenchRow => ({ name, value, unit });

async function open(bus: Bus, uid: string, actors: number): Promise<Place> {
  const names = subjects(uid);
  const limits = { retention: "work-queue", maxMessages: 8 * inFlight(actors), maxBytes: 1e9 } as const;
  return {
    work: await bus.stream({ name: names.workStream, subjects: [names.workRollout], ...limits }),
    trajectories: await bus.stream({
      name: names.trajectoryStream,
      subjects: [names.trajectoryGenerated, names.trajectoryScored],
      ...limits,
    }),
  };
}

/** One publisher with a window, one reader: what the client and the server can do with these bytes. */
async function rawRate(buses: readonly Bus[]): Promise<number> {
  const uid = `bench-${process.pid}-${++uids}`;
  const names = subjects(uid);
  const { trajectories } = await open(buses[0]!, uid, 1);
  const reader = await (await open(buses[1]!, uid, 1)).trajectories.consumer({ name: "raw", ...READER });
  const data = new Uint8Array(GROUP_BYTES);
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  let consumed = 0;
  const publishing = Array.from({ length: 32 }, async () => {
    // A full stream is the reader's way to say wait.
    while (!stop.signal.aborted)
      await trajectories.publish(names.trajectoryGenerated, data).catch(() => undefined);
  });
  const reading = Array.from({ length: 32 }, async () => {
    for await (const message of reader.messages({ signal: stop.signal })) {
      await message.ack();
      consumed++;
    }
  });
  const rate = await measure(() => consumed);
  stop.abort();
  await Promise.all([...publishing, ...reading]);
  await buses[0]!.removeRun(uid);
  return rate;
}

async function pipelineRate(
  buses: readonly Bus[],
  actors: number,
): Promise<{ readonly groupsPerSecond: number; readonly bytesPerActor: number }> {
  const uid = `bench-${process.pid}-${++uids}`;
  const names = subjects(uid);
  const [learner, reward, ...actorBuses] = await Promise.all(buses.map((bus) => open(bus, uid, actors)));
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const group = new Uint8Array(GROUP_BYTES);
  const running: Promise<unknown>[] = [];
  const before = process.memoryUsage().rss;
  for (let index = 0; index < actors; index++) {
    const { work, trajectories } = actorBuses[index % actorBuses.length]!;
    const consumer = await work.consumer({ name: "actors", filterSubject: names.workRollout, ...READER });
    const answer = (): Promise<unknown> => trajectories.publish(names.trajectoryGenerated, group);
    running.push(worker(consumer, answer, 2).run(stop.signal));
  }
  const generated = await reward!.trajectories.consumer({
    name: "reward",
    filterSubject: names.trajectoryGenerated,
    ...READER,
  });
  const score = (): Promise<unknown> => reward!.trajectories.publish(names.trajectoryScored, group);
  running.push(worker(generated, score, 64, PULLS).run(stop.signal));
  const scored = await learner!.trajectories.consumer({
    name: "learner",
    filterSubject: names.trajectoryScored,
    ...READER,
  });
  let admitted = 0;
  const issue = (): Promise<unknown> => learner!.work.publish(names.workRollout, new Uint8Array(WORK_BYTES));
  const admit = async (): Promise<void> => {
    for await (const message of scored.messages({ signal: stop.signal })) {
      await message.ack();
      admitted++;
      void issue();
    }
  };
  running.push(...Array.from({ length: PULLS }, admit));
  await Promise.all(Array.from({ length: inFlight(actors) }, issue));
  const groupsPerSecond = await measure(() => admitted);
  const bytesPerActor = Math.max(0, process.memoryUsage().rss - before) / actors;
  stop.abort();
  await Promise.all(running);
  await buses[0]!.removeRun(uid);
  return { groupsPerSecond, bytesPerActor };
}

function worker(
  consumer: Consumer,
  answer: () => Promise<unknown>,
  capacity: number,
  pulls = 1,
): WorkLoop<number, unknown> {
  let inHand = 0;
  return new WorkLoop<number, unknown>({
    consumer,
    hasRoom: (pulling) => inHand + pulling < capacity,
    pulls,
    onEvent: ({ type }) => void (inHand += type === "pulled" ? 1 : -1),
    handler: {
      read: ({ sequence }) => ({ id: String(sequence), item: sequence }),
      start: async () => ({ done: answer() }),
    },
  });
}

/** Per second, after a second to get going. */
async function measure(count: () => number): Promise<number> {
  const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  await wait(1_000);
  const [startMs, start] = [performance.now(), count()];
  await wait(MEASURE_MS);
  return ((count() - start) / (performance.now() - startMs)) * 1_000;
}
