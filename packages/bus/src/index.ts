/** The message bus: its interface, the names of a run on it, and the in-process driver. */
export type {
  Bus,
  Consumer,
  ConsumerConfig,
  ConsumerInfo,
  Headers,
  KeyValue,
  KvConfig,
  KvEntry,
  Message,
  ObjectInfo,
  ObjectGetOptions,
  ObjectPutOptions,
  ObjectStore,
  ObjectStoreConfig,
  ParkedMessage,
  PublishAck,
  PublishOptions,
  Retention,
  Stream,
  StreamConfig,
  StreamInfo,
  StreamMark,
} from "./types.ts";
export {
  groupMessageId,
  readGroupMessageId,
  subjectMatches,
  subjects,
  subjectsOverlap,
  type MessageGroup,
  type RunSubjects,
} from "./subjects.ts";
export { createMemoryBus, type MemoryBusOptions } from "./memory/bus.ts";
export { givenUp, WorkLoop, type WorkEvent, type WorkHandler, type WorkLoopOptions } from "./work-loop.ts";
export {
  connectJetStreamBus,
  type JetStreamAccount,
  type JetStreamBusOptions,
  readJetStreamAccount,
} from "./jetstream/connect.ts";
export { readNatsOptions, type NatsOptions, type NatsTlsFiles } from "./jetstream/config.ts";
export {
  findNatsServer,
  startNatsServer,
  type NatsServer,
  type NatsServerOptions,
} from "./jetstream/server-process.ts";
