/** A stream of the memory driver: stored messages, duplicate window, limits, and the consumers that it feeds. */
import { OarlockError } from "@oarlock/errors";
import type { Clock, WaitRegistry } from "@oarlock/runtime";
import { checkLimit, checkName, checkSubjectPattern } from "../names.ts";
import { subjectMatches, subjectsOverlap } from "../subjects.ts";
import type {
  Consumer,
  ConsumerConfig,
  ParkedMessage,
  PublishAck,
  PublishOptions,
  Stream,
  StreamConfig,
  StreamInfo,
  StreamMark,
} from "../types.ts";
import { type ConsumerHost, MemoryConsumer, type StoredMessage } from "./consumer.ts";

/** What a stream needs of its bus. */
export interface StreamHost {
  readonly clock: Clock;
  readonly registry: WaitRegistry;
  readonly maxPayloadBytes: number;
  checkOpen(): void;
  removed(stream: MemoryStream): void;
}

const DUPLICATE_WINDOW_MS = 120_000;
/** Q1: ids and poison messages are remembered in bounded number; the oldest are forgotten first. */
const MAX_REMEMBERED_IDS = 100_000;
const MAX_PARKED = 256;

export class MemoryStream implements Stream {
  readonly config: StreamConfig;
  readonly #host: StreamHost;
  readonly #messages = new Map<number, StoredMessage>();
  readonly #ids = new Map<string, { readonly sequence: number; readonly atMs: number }>();
  readonly #consumers = new Map<string, MemoryConsumer>();
  readonly #parked: ParkedMessage[] = [];
  #bytes = 0;
  #lastSequence = 0;

  constructor(config: StreamConfig, host: StreamHost) {
    checkName("stream", config.name);
    for (const subject of config.subjects) checkSubjectPattern(subject);
    checkLimit(`maxMessages of ${config.name}`, config.maxMessages);
    checkLimit(`maxBytes of ${config.name}`, config.maxBytes);
    this.config = config;
    this.#host = host;
  }

  publish(subject: string, data: Uint8Array, options: PublishOptions = {}): Promise<PublishAck> {
    // An async wrapper would do; this keeps the store in one tick, so that two publishers never interleave.
    return new Promise((resolve) => resolve(this.#publish(subject, data, options)));
  }

  async consumer(config: ConsumerConfig): Promise<Consumer> {
    this.#host.checkOpen();
    checkName("consumer", config.name);
    checkLimit(`maxAckPending of ${config.name}`, config.maxAckPending);
    checkLimit(`ackWaitMs of ${config.name}`, config.ackWaitMs);
    const existing = this.#consumers.get(config.name);
    if (existing !== undefined) {
      if (sameConsumer(existing.config, config)) return existing;
      throw new OarlockError(
        "BUS_CONSUMER_MISMATCH",
        `${this.config.name}/${config.name} exists with another configuration`,
      );
    }
    this.#refuseOverlap(config);
    const matching = [...this.#messages.values()].filter((message) => matches(config, message.subject));
    const made = new MemoryConsumer(
      config,
      this.#consumerHost(),
      matching.map((message) => message.sequence),
    );
    this.#consumers.set(config.name, made);
    return made;
  }

  async info(): Promise<StreamInfo> {
    this.#host.checkOpen();
    return this.infoNow();
  }

  infoNow(): StreamInfo {
    const [oldest] = this.#messages.values();
    const info = {
      name: this.config.name,
      messages: this.#messages.size,
      bytes: this.#bytes,
      lastSequence: this.#lastSequence,
      consumers: [...this.#consumers.values()].map((consumer) => consumer.infoNow()),
      parked: [...this.#parked],
    };
    return oldest === undefined
      ? info
      : { ...info, oldestMs: this.#host.clock.nowMs() - oldest.publishedAtMs };
  }

  async mark(): Promise<StreamMark> {
    this.#host.checkOpen();
    return { sequence: this.#lastSequence, objects: [] };
  }

  async purge(upTo?: StreamMark): Promise<void> {
    this.#host.checkOpen();
    const last = upTo?.sequence ?? this.#lastSequence;
    for (const sequence of this.#messages.keys()) if (sequence <= last) this.#remove(sequence);
  }

  async delete(): Promise<void> {
    this.#host.checkOpen();
    this.close();
    this.#host.removed(this);
  }

  /** Ends all readers and forgets everything. */
  close(): void {
    for (const consumer of this.#consumers.values()) consumer.close();
    this.#consumers.clear();
    this.#messages.clear();
    this.#ids.clear();
    this.#bytes = 0;
  }

  #publish(subject: string, data: Uint8Array, options: PublishOptions): PublishAck {
    this.#host.checkOpen();
    options.signal?.throwIfAborted();
    this.#check(subject, data);
    const known = options.msgId === undefined ? undefined : this.#recall(options.msgId);
    if (known !== undefined) return { sequence: known, duplicate: true };
    this.#makeRoom(data.byteLength);
    const sequence = ++this.#lastSequence;
    const publishedAtMs = this.#host.clock.nowMs();
    const headers = Object.freeze({ ...options.headers });
    const { msgId } = options;
    const stored = { sequence, subject, data: new Uint8Array(data), headers, publishedAtMs };
    this.#messages.set(sequence, msgId === undefined ? stored : { ...stored, msgId });
    this.#bytes += data.byteLength;
    if (msgId !== undefined) this.#remember(msgId, sequence);
    for (const consumer of this.#consumers.values()) {
      if (matches(consumer.config, subject)) consumer.offer(sequence);
    }
    return { sequence, duplicate: false };
  }

  #check(subject: string, data: Uint8Array): void {
    const { name, subjects } = this.config;
    if (!subjects.some((pattern) => subjectMatches(pattern, subject))) {
      throw new OarlockError(
        "BUS_SUBJECT_UNKNOWN",
        `stream ${name} stores ${subjects.join(", ")}, not ${subject}`,
      );
    }
    const { maxPayloadBytes } = this.#host;
    // Here nothing travels: what would be stored beside the stream lies in it.
    if (data.byteLength > maxPayloadBytes && this.config.oversize !== "store") {
      const message = `${data.byteLength} bytes for ${subject}; at most ${maxPayloadBytes}`;
      throw new OarlockError("BUS_PAYLOAD_TOO_LARGE", message);
    }
  }

  /** Q1: a work queue pushes back; a log lets its oldest go. */
  #makeRoom(bytes: number): void {
    const { name, retention, maxMessages, maxBytes } = this.config;
    const full = (): boolean => this.#messages.size + 1 > maxMessages || this.#bytes + bytes > maxBytes;
    if (!full()) return;
    if (retention === "log" && bytes <= maxBytes) {
      for (const sequence of this.#messages.keys()) {
        if (!full()) return;
        this.#remove(sequence);
      }
      return;
    }
    const message = `stream ${name} holds ${this.#messages.size} of ${maxMessages} messages, ${this.#bytes} of ${maxBytes} bytes`;
    throw new OarlockError("BUS_STREAM_FULL", message, { retryable: true });
  }

  #recall(msgId: string): number | undefined {
    const sinceMs = this.#host.clock.monotonicMs() - (this.config.duplicateWindowMs ?? DUPLICATE_WINDOW_MS);
    for (const [id, { atMs }] of this.#ids) {
      if (atMs > sinceMs) break;
      this.#ids.delete(id);
    }
    return this.#ids.get(msgId)?.sequence;
  }

  #remember(msgId: string, sequence: number): void {
    this.#ids.set(msgId, { sequence, atMs: this.#host.clock.monotonicMs() });
    if (this.#ids.size <= MAX_REMEMBERED_IDS) return;
    const [oldest] = this.#ids.keys();
    if (oldest !== undefined) this.#ids.delete(oldest);
  }

  #remove(sequence: number): void {
    const message = this.#messages.get(sequence);
    if (message === undefined) return;
    this.#messages.delete(sequence);
    this.#bytes -= message.data.byteLength;
    for (const consumer of this.#consumers.values()) consumer.forget(sequence);
  }

  #park(sequence: number, reason: string): void {
    const message = this.#messages.get(sequence);
    if (message === undefined) return;
    const { subject, headers, msgId } = message;
    this.#parked.push({ sequence, subject, headers, reason, ...(msgId === undefined ? {} : { msgId }) });
    if (this.#parked.length > MAX_PARKED) this.#parked.shift();
  }

  #refuseOverlap(config: ConsumerConfig): void {
    if (this.config.retention !== "work-queue") return;
    const everything = config.filterSubject ?? ">";
    for (const other of this.#consumers.values()) {
      if (!subjectsOverlap(everything, other.config.filterSubject ?? ">")) continue;
      const message = `${this.config.name}: consumers ${config.name} and ${other.config.name} would share messages of a work queue`;
      throw new OarlockError("BUS_CONSUMER_OVERLAP", message);
    }
  }

  #consumerHost(): ConsumerHost {
    const { clock, registry } = this.#host;
    return {
      name: this.config.name,
      clock,
      registry,
      find: (sequence) => this.#messages.get(sequence),
      settled: (sequence, poison) => {
        if (poison !== undefined) this.#park(sequence, poison);
        if (this.config.retention === "work-queue") this.#remove(sequence);
      },
      removed: (consumer) => void this.#consumers.delete(consumer.config.name),
    };
  }
}

function matches(config: ConsumerConfig, subject: string): boolean {
  return config.filterSubject === undefined || subjectMatches(config.filterSubject, subject);
}

function sameConsumer(left: ConsumerConfig, right: ConsumerConfig): boolean {
  const { ackWaitMs, maxAckPending, filterSubject } = left;
  return (
    ackWaitMs === right.ackWaitMs &&
    maxAckPending === right.maxAckPending &&
    filterSubject === right.filterSubject
  );
}
