/** Structured log lines: levels, child fields, secrets redacted, trace ids added. The only importer of pino. */
import { OarlockError } from "@oarlock/errors";
import pino from "pino";
import { currentTrace } from "./trace-context.ts";

/** Fields of one line. `err` is written with its type, code, stack and causes. */
export type LogFields = Readonly<Record<string, unknown>>;

type LogMethod = (message: string, fields?: LogFields) => void;

/** Message first: lines are read by people, fields by machines. */
export interface Log {
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  /** The same log with fields added to every line. */
  child(fields: LogFields): Log;
}

const LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

/** Least level that is written. */
export type LogLevel = (typeof LEVELS)[number];

/** Where lines go. */
export interface LogOptions {
  /** Default "info". */
  readonly level?: LogLevel;
  /** In every line, e.g. `service`, `instance`, `run`. */
  readonly fields?: LogFields;
  /** Default: standard error, so that standard output stays for results. */
  readonly write?: (line: string) => void;
}

/** Never written, at any depth up to two. */
const SECRET_FIELDS = [
  "token",
  "accessToken",
  "password",
  "secret",
  "authorization",
  "apiKey",
  "credentials",
  "privateKey",
];

/** Makes a log; one JSON object a line. */
export function createLog(options: LogOptions = {}): Log {
  const { level = "info", fields = {}, write } = options;
  if (!LEVELS.includes(level)) {
    throw new OarlockError("LOG_LEVEL", `log level ${JSON.stringify(level)}; accepted: ${LEVELS.join(", ")}`);
  }
  const destination = write === undefined ? pino.destination({ dest: 2, sync: false }) : { write };
  const logger = pino(
    {
      level,
      base: fields,
      messageKey: "message",
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
      redact: {
        paths: SECRET_FIELDS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
        censor: "[redacted]",
      },
      mixin: traceFields,
    },
    destination,
  );
  return wrap(logger);
}

/** A log that writes nothing, for tests and libraries that were given none. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

function wrap(logger: pino.Logger): Log {
  const at =
    (level: "debug" | "info" | "warn" | "error"): LogMethod =>
    (message, fields = {}) =>
      logger[level](fields, message);
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => wrap(logger.child(fields)),
  };
}

function traceFields(): Record<string, string> {
  const trace = currentTrace();
  return trace === undefined ? {} : { trace_id: trace.traceId, span_id: trace.spanId };
}

const MAX_CAUSES = 8;

function describeError(reason: unknown, depth = 0): unknown {
  if (!(reason instanceof Error)) return String(reason);
  const described: Record<string, unknown> = { type: reason.name, message: reason.message };
  if ("code" in reason) described["code"] = reason.code;
  if (depth === 0) described["stack"] = reason.stack;
  if (reason.cause !== undefined && depth < MAX_CAUSES)
    described["cause"] = describeError(reason.cause, depth + 1);
  return described;
}
