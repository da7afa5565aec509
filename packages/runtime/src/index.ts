/** What every service needs of a process: time, waits, queues, log lines, life and death, threads, digests, spans and measurements as plain types. */
export {
  abortReason,
  createManualClock,
  sleep,
  systemClock,
  type Clock,
  type ManualClock,
  type Timer,
} from "./clock.ts";
export {
  deadlineExceeded,
  processWaits,
  waitFor,
  WaitRegistry,
  type OpenWait,
  type WaitOptions,
} from "./deadline.ts";
export { backoffMs, retry, type Backoff, type RetryOptions } from "./backoff.ts";
export { inSlices } from "./in-slices.ts";
export { BoundedQueue } from "./bounded-queue.ts";
export { Semaphore } from "./semaphore.ts";
export { createWakeup, type Wakeup } from "./wakeup.ts";
export { createLog, silentLog, type Log, type LogFields, type LogLevel, type LogOptions } from "./log.ts";
export { Lifecycle, type LifecycleOptions } from "./lifecycle.ts";
export { observeProcess, PROCESS_INSTRUMENTS } from "./process-metrics.ts";
export { startLoopDelayMonitor, type LoopDelay, type LoopDelayMonitor } from "./event-loop-delay.ts";
export { MOMENTS, reachMoment, type Moment } from "./moment.ts";
export { createSettingsReader, processEnvironment, type Environment, type SettingsReader } from "./config.ts";
export {
  currentTrace,
  formatTraceparent,
  isSampled,
  parseTraceparent,
  traceHeaders,
  traceOfHeaders,
  type TraceHeaders,
  withTrace,
  type TraceContext,
} from "./trace-context.ts";
export {
  endingWith,
  parentOf,
  silentTracer,
  traced,
  type Attributes,
  type AttributeValue,
  type Span,
  type SpanKind,
  type SpanLink,
  type SpanOptions,
  type Tracer,
} from "./tracer.ts";
export {
  SECONDS_BOUNDARIES,
  silentMeter,
  silentTelemetry,
  type Instrument,
  type Instruments,
  type Measurement,
  type Meter,
  type Observed,
  type Recorder,
  type Telemetry,
} from "./meter.ts";
export { countShared, sharedMemory, UNCOLLECTED_BYTES } from "./shared-memory.ts";
export { bytesOf, createHasher, sha256Hex, sha256HexOffLoop, type Hasher } from "./digest.ts";
export {
  WorkerClient,
  type TransferList,
  type WorkerCallOptions,
  type WorkerClientOptions,
  type WorkerMethods,
} from "./worker-client.ts";
export { ENGINE_CALL_TIMEOUT_MS, openEngineWorker, type EngineWorker } from "./engine-worker.ts";
export { serveWorker, withTransfer } from "./serve-worker.ts";
export { decodeError, encodeError, UNEXPECTED, type EncodedError } from "./error-codec.ts";
