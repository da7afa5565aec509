/**
 * What a message bus offers: streams with acknowledgement, a key-value store with compare-and-set, and an object store.
 *
 * Two drivers implement it (memory, JetStream) and pass one contract test (`contract.ts`). The semantics are JetStream's,
 * without its knobs that would break an invariant: a delivery count never drops a message (D1c), and the publisher is told
 * when a stream is full instead of losing the oldest work (Q1). Nothing here knows what the bytes mean.
 */

/** Headers of one message: ASCII names to single values. */
export type Headers = Readonly<Record<string, string>>;

/** How a stream keeps messages. */
export type Retention =
  /** Each message goes to one consumer and is removed when it is acknowledged. */
  | "work-queue"
  /** Every durable consumer sees every message; the oldest leave when the limits are reached. */
  | "log";

/** Limits and subjects of a stream. Opening an existing name with other values is refused. */
export interface StreamConfig {
  /** Letters, digits, `_` and `-`; carries the run's uid. */
  readonly name: string;
  /** Subjects that it stores; `*` stands for one token, a last `>` for one or more. */
  readonly subjects: readonly string[];
  readonly retention: Retention;
  /** Bound on stored messages (Q1). */
  readonly maxMessages: number;
  /** Bound on stored bytes of data (Q1). */
  readonly maxBytes: number;
  /** How long a `msgId` is remembered. Default 120 000. */
  readonly duplicateWindowMs?: number;
  /**
   * What becomes of data above the bus's message limit: refused, or stored beside the stream and given to the reader as if
   * it had travelled. `maxBytes` bounds what is beside, too. Default "refuse".
   */
  readonly oversize?: "refuse" | "store";
}

/** What a publisher may say besides the data. */
export interface PublishOptions {
  /** Publishing one id twice within the duplicate window stores one message. It removes retries, no more (T1). */
  readonly msgId?: string;
  readonly headers?: Headers;
  readonly signal?: AbortSignal;
}

/** The message is stored; `duplicate` says that it had been before. */
export interface PublishAck {
  readonly sequence: number;
  readonly duplicate: boolean;
}

/** Numbers of a stream for status pages. */
export interface StreamInfo {
  readonly name: string;
  readonly messages: number;
  readonly bytes: number;
  /** Sequence of the newest message ever stored; 0 before the first. */
  readonly lastSequence: number;
  /** Age of the oldest stored message, if any. */
  readonly oldestMs?: number;
  readonly consumers: readonly ConsumerInfo[];
  /** Poison messages with the reason given to `term`, newest last, bounded. */
  readonly parked: readonly ParkedMessage[];
}

/** A message that a handler gave up for good. */
export interface ParkedMessage {
  readonly sequence: number;
  readonly subject: string;
  readonly reason: string;
  readonly headers: Headers;
  /** The id that it was published under. */
  readonly msgId?: string;
}

/** A named, durable reader of a stream; every handle of one name shares its messages. */
export interface ConsumerConfig {
  /** Letters, digits, `_` and `-`. */
  readonly name: string;
  /** Which of the stream's subjects; default all. On a work queue, two consumers never overlap. */
  readonly filterSubject?: string;
  /** A message that is neither acknowledged nor marked `working` for so long is delivered again. */
  readonly ackWaitMs: number;
  /** Deliveries without acknowledgement at any time, over all handles (Q1). */
  readonly maxAckPending: number;
}

/** Numbers of a consumer for status pages. */
export interface ConsumerInfo {
  readonly name: string;
  /** Not delivered yet. */
  readonly pending: number;
  /** Delivered and not acknowledged. */
  readonly ackPending: number;
  /** Deliveries after the first: since the consumer was made, or, over JetStream, of messages that are still out. */
  readonly redelivered: number;
}

/** One delivery. All four answers are idempotent; the first of `ack` and `term` decides. */
export interface Message {
  readonly subject: string;
  /** Shared with other readers: never written to. */
  readonly data: Uint8Array;
  readonly headers: Headers;
  /** Position in the stream, from 1. */
  readonly sequence: number;
  /** 1 for the first delivery. Informs; decides nothing (D1c). */
  readonly deliveryCount: number;
  readonly publishedAtMs: number;
  /** Done: resolves when the bus has recorded it. */
  ack(): Promise<void>;
  /** Not done: deliver again, after `delayMs` if given. */
  nak(delayMs?: number): Promise<void>;
  /** Still at it: the ack wait starts again. */
  working(): Promise<void>;
  /** Poison: never deliver again; kept in `StreamInfo.parked` with the reason. */
  term(reason: string): Promise<void>;
}

/** A pull consumer. */
export interface Consumer {
  readonly config: ConsumerConfig;
  /** The next message, or undefined when none came within `timeoutMs`. */
  next(options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<Message | undefined>;
  /** Messages until the signal aborts or the bus closes; ends then without an error. */
  messages(options?: { readonly signal?: AbortSignal }): AsyncIterable<Message>;
  info(): Promise<ConsumerInfo>;
  /** Forgets the durable reader and its position; what it had not acknowledged stays in the stream. */
  delete(): Promise<void>;
}

/** What lay in a stream at one moment. */
export interface StreamMark {
  /** Of the newest message ever stored. */
  readonly sequence: number;
  /** Objects that hold data of messages. */
  readonly objects: readonly string[];
}

/** An open stream. */
export interface Stream {
  readonly config: StreamConfig;
  /** @throws OarlockError `BUS_STREAM_FULL` (retryable), `BUS_PAYLOAD_TOO_LARGE`, `BUS_SUBJECT_UNKNOWN`. */
  publish(subject: string, data: Uint8Array, options?: PublishOptions): Promise<PublishAck>;
  /** Opens the durable consumer, making it if it is new; another config under its name is refused. */
  consumer(config: ConsumerConfig): Promise<Consumer>;
  info(): Promise<StreamInfo>;
  /** What lies in it now, for `purge`. */
  mark(): Promise<StreamMark>;
  /** Removes all messages, or those that lay there at a mark; keeps consumers. */
  purge(upTo?: StreamMark): Promise<void>;
  delete(): Promise<void>;
}

/** One value of a key. */
export interface KvEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Grows with every change of the bucket; what `update` compares. */
  readonly revision: number;
  readonly deleted: boolean;
}

/** Limits of a key-value bucket. */
export interface KvConfig {
  /** Letters, digits, `_` and `-`; carries the run's uid. */
  readonly name: string;
  /** Default 65 536. */
  readonly maxValueBytes?: number;
  /** Bound on keys (Q1). Default 4 096. */
  readonly maxKeys?: number;
}

/** Small values with compare-and-set. Keys are letters, digits and `-_/=.`. */
export interface KeyValue {
  readonly config: KvConfig;
  /** Undefined when it does not exist or was deleted. */
  get(key: string): Promise<KvEntry | undefined>;
  put(key: string, value: Uint8Array): Promise<number>;
  /** @throws OarlockError `BUS_REVISION_MISMATCH` when the key has a value. */
  create(key: string, value: Uint8Array): Promise<number>;
  /** @throws OarlockError `BUS_REVISION_MISMATCH` when the key's revision is not `revision` (F1). */
  update(key: string, value: Uint8Array, revision: number): Promise<number>;
  delete(key: string): Promise<void>;
  keys(): Promise<string[]>;
  /** The current value, then every change; a slow reader sees the newest value, not each one. Ends with the signal. */
  watch(key: string, options?: { readonly signal?: AbortSignal }): AsyncIterable<KvEntry>;
}

/** Limits of an object bucket. */
export interface ObjectStoreConfig {
  /** Letters, digits, `_` and `-`; carries the run's uid. */
  readonly name: string;
  /** Bound on stored bytes (Q1). */
  readonly maxBytes: number;
  /** Default 1 MiB − 24 KiB, below the usual message limit. */
  readonly chunkBytes?: number;
}

/** What the store knows of an object. */
export interface ObjectInfo {
  readonly name: string;
  readonly bytes: number;
  readonly chunks: number;
  /** SHA-256 in lower-case hex. */
  readonly digest: string;
}

export interface ObjectPutOptions {
  /** SHA-256 (hex) that the content must have. */
  readonly digest?: string;
  /** The caller has just hashed exactly these bytes: they are not hashed again. */
  readonly hashed?: boolean;
  readonly signal?: AbortSignal;
}

export interface ObjectGetOptions {
  /** An object that was stored with another digest is corrupt, and nothing of it is read. */
  readonly digest?: string;
  /** The caller verifies what it gets: it is not hashed on its way. */
  readonly unverified?: boolean;
  readonly signal?: AbortSignal;
}

/** Big values in chunks; visible only when complete. */
export interface ObjectStore {
  readonly config: ObjectStoreConfig;
  /**
   * Stores or replaces an object. With `digest`, content that does not match it is refused and nothing changes.
   * The bytes are copied before the call returns its first promise tick per chunk: a caller may not write to them before
   * the promise settles.
   * @throws OarlockError `BUS_OBJECT_DIGEST_MISMATCH`, `BUS_STORE_FULL`.
   */
  put(
    name: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options?: ObjectPutOptions,
  ): Promise<ObjectInfo>;
  /**
   * Chunks in order; the last one comes only after the digest was found right.
   * @throws OarlockError `BUS_OBJECT_MISSING`, `BUS_OBJECT_CORRUPT`.
   */
  get(name: string, options?: ObjectGetOptions): AsyncIterable<Uint8Array>;
  info(name: string): Promise<ObjectInfo | undefined>;
  delete(name: string): Promise<void>;
  list(): Promise<ObjectInfo[]>;
}

/** A connection to one bus. */
export interface Bus extends AsyncDisposable {
  readonly driver: "memory" | "jetstream";
  /** What one message may hold; `StreamConfig.oversize` says what becomes of more. */
  readonly maxPayloadBytes: number;
  /** Opens a stream, making it if it is new. */
  stream(config: StreamConfig): Promise<Stream>;
  kv(config: KvConfig): Promise<KeyValue>;
  objects(config: ObjectStoreConfig): Promise<ObjectStore>;
  /** Opens a bucket that somebody else made, whatever its limits; undefined where there is none. */
  findObjects(name: string): Promise<ObjectStore | undefined>;
  /** Numbers of every stream that this connection opened. */
  info(): Promise<readonly StreamInfo[]>;
  /** Removes every stream and bucket whose name carries `uid`. */
  removeRun(uid: string): Promise<void>;
  /** Ends all iterables; later calls fail with `BUS_CLOSED`. */
  close(): Promise<void>;
}
