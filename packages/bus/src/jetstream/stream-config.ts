/** Our limits in JetStream's terms, and whether a stream that exists has them. Opens streams that may be new. */
import { OarlockError } from "@oarlock/errors";
import { DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import type { StreamConfig as ServerConfig, StreamInfo as ServerInfo } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import type { StreamConfig } from "../types.ts";
import { API, apiCode } from "./broker.ts";
import type { Broker } from "./broker.ts";

/** A stream as it is asked for: whatever is not named is the server's default. */
export type WantedStream = Partial<ServerConfig> & { readonly name: string };

const DUPLICATE_WINDOW_MS = 120_000;
/** The server counts subject, headers and its own record with the data. */
const OVERHEAD_BYTES = 1_024;

/** A stream of ours as the server is asked for it. */
export function serverConfig(config: StreamConfig, replicas: number): WantedStream {
  const workQueue = config.retention === "work-queue";
  return {
    name: config.name,
    subjects: [...config.subjects],
    retention: workQueue ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    // Q1: a work queue pushes back, a log lets its oldest go.
    discard: workQueue ? DiscardPolicy.New : DiscardPolicy.Old,
    max_msgs: config.maxMessages,
    max_bytes: config.maxBytes + config.maxMessages * OVERHEAD_BYTES,
    duplicate_window: nanos(config.duplicateWindowMs ?? DUPLICATE_WINDOW_MS),
    storage: StorageType.File,
    num_replicas: replicas,
  };
}

/** Opens a stream by name, making it if it is new. @throws OarlockError `BUS_CONFIG_MISMATCH`, `BUS_SUBJECT_TAKEN`. */
export async function openServerStream(broker: Broker, wanted: WantedStream): Promise<ServerInfo> {
  const { manager } = broker.parts;
  return broker.call(`open stream ${wanted.name}`, async () => {
    const existing = await manager.streams.info(wanted.name).catch((reason: unknown) => {
      if (apiCode(reason) === API.streamNotFound) return undefined;
      throw reason;
    });
    const info = existing ?? (await create(broker, wanted));
    checkSame(info.config, wanted);
    return info;
  });
}

async function create(broker: Broker, wanted: WantedStream): Promise<ServerInfo> {
  const { manager } = broker.parts;
  try {
    return await manager.streams.add(wanted);
  } catch (reason) {
    const code = apiCode(reason);
    // Somebody else made it between our look and our try.
    if (code === API.streamNameTaken) return manager.streams.info(wanted.name);
    const said = reason instanceof Error ? reason.message : String(reason);
    if (code === API.subjectsOverlap) {
      throw new OarlockError(
        "BUS_SUBJECT_TAKEN",
        `stream ${wanted.name}: one of ${(wanted.subjects ?? []).join(", ")} is stored by another stream already`,
      );
    }
    if (code === API.insufficientStorage) {
      throw new OarlockError(
        "BUS_STORAGE_SHORT",
        `stream ${wanted.name} needs room for ${wanted.max_bytes} bytes on the NATS server: ${said}`,
      );
    }
    throw reason;
  }
}

/** What two openings must agree on: whatever decides what is stored. Copies are the operator's to change. */
const COMPARED = [
  "subjects",
  "retention",
  "discard",
  "max_msgs",
  "max_bytes",
  "max_msgs_per_subject",
  "max_msg_size",
  "duplicate_window",
] as const;

function checkSame(actual: ServerConfig, wanted: WantedStream): void {
  for (const name of COMPARED) {
    if (wanted[name] === undefined || JSON.stringify(actual[name]) === JSON.stringify(wanted[name])) continue;
    throw new OarlockError(
      "BUS_CONFIG_MISMATCH",
      `${wanted.name} exists with ${name} ${JSON.stringify(actual[name])}, not ${JSON.stringify(wanted[name])}`,
    );
  }
}

/** Subjects under `filter` that the stream holds messages of. */
export async function subjectsOf(
  broker: Broker,
  of: { readonly stream: string; readonly filter: string },
): Promise<string[]> {
  const { manager } = broker.parts;
  const { state } = await broker.call(`list ${of.filter}`, () =>
    manager.streams.info(of.stream, { subjects_filter: of.filter }),
  );
  return Object.keys(state.subjects ?? {});
}
