/** gRPC, typed by the contract: servers, channels, statuses. The only importer of @grpc/*. */
export { RpcServer, type RpcServerOptions } from "./server.ts";
export { openChannel, type RpcChannel, type RpcChannelOptions } from "./client.ts";
export type { CallContext, CallOptions, Client, ServiceImpl } from "./service.ts";
export type { TlsOptions } from "./security.ts";
export { readRpcSecurity, type RpcSecurity } from "./config.ts";
export { statusOf } from "./status.ts";
