/**
 * Types and wire functions computed from a protobuf-es service descriptor: no stub is generated per service. What a server
 * implements and what a client offers are two views of one `DescService`. Every method takes one request: no contract of ours
 * streams them.
 */
import { OarlockError } from "@oarlock/errors";
import {
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { MethodDefinition } from "@grpc/grpc-js";

type Input<M> = M extends { input: infer I extends DescMessage } ? I : never;
type Output<M> = M extends { output: infer O extends DescMessage } ? O : never;

/** What a handler may know of the call that it answers. */
export interface CallContext {
  /** Aborts when the client cancels, disconnects or passes its deadline, or when the server's grace is over. */
  readonly signal: AbortSignal;
  /** Aborts when the server begins to drain: long streams end themselves then. */
  readonly draining: AbortSignal;
  /** Who called, for log lines. */
  readonly peer: string;
}

type Incoming<M> = MessageShape<Input<M>>;
type Reply<M> = MessageInitShape<Output<M>>;

/** The kinds of method whose requests are a stream. */
interface Unsupported {
  client_streaming: never;
  bidi_streaming: never;
}

/** One function per kind of method. */
interface Handlers<M> extends Unsupported {
  unary: (request: Incoming<M>, call: CallContext) => Promise<Reply<M>>;
  server_streaming: (request: Incoming<M>, call: CallContext) => AsyncIterable<Reply<M>>;
}

/** What a server implements: every method, by its local name. */
export type ServiceImpl<S extends DescService> = {
  readonly [K in keyof S["method"]]: Handlers<S["method"][K]>[S["method"][K]["methodKind"]];
};

/** Options of one call. */
export interface CallOptions {
  /** L1: default 30 s, and 10 min for streams. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

type Outgoing<M> = MessageInitShape<Input<M>>;
type Answer<M> = MessageShape<Output<M>>;

interface Callers<M> extends Unsupported {
  unary: (request: Outgoing<M>, options?: CallOptions) => Promise<Answer<M>>;
  server_streaming: (request: Outgoing<M>, options?: CallOptions) => AsyncIterable<Answer<M>>;
}

/** What a client offers: every method, by its local name. Failures are OarlockErrors. */
export type Client<S extends DescService> = {
  readonly [K in keyof S["method"]]: Callers<S["method"][K]>[S["method"][K]["methodKind"]];
};

/** A message of any type. @internal */
export type AnyMessage = MessageShape<DescMessage>;
/** What makes a message of any type. @internal */
export type AnyInit = MessageInitShape<DescMessage>;

/** How a method looks on the wire. @internal */
export function wireDefinition(
  service: DescService,
  method: DescMethod,
): MethodDefinition<AnyMessage, AnyMessage> {
  const { methodKind, input, output } = method;
  if (methodKind === "client_streaming" || methodKind === "bidi_streaming") {
    throw new OarlockError(
      "RPC_KIND_UNSUPPORTED",
      `${service.typeName}/${method.name} takes a stream; accepted: methods of one request`,
    );
  }
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream: false,
    responseStream: methodKind === "server_streaming",
    requestSerialize: (message) => asBuffer(toBinary(input, message)),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (message) => asBuffer(toBinary(output, message)),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
  };
}

/** The same memory under the class that grpc-js asks for. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
