/** The standard reflection service, so that tools such as grpcurl know every method and message without our sources. */
import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";

/** Describes `services` on `server`; call it once, when all are known. */
export function addReflection(server: Server, services: readonly DescService[]): void {
  const described = services.map((service) => [
    service.typeName,
    {
      format: "Protocol Buffer 3 DescriptorProto",
      type: {},
      fileDescriptorProtos: withDependencies(service.file).map((file) =>
        Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
      ),
    },
  ]);
  new ReflectionService(Object.fromEntries(described)).addToServer(server);
}

/** A file and all that it imports, each once. */
function withDependencies(file: DescFile): DescFile[] {
  const files = new Map<string, DescFile>();
  const visit = (at: DescFile): void => {
    if (files.has(at.name)) return;
    files.set(at.name, at);
    for (const dependency of at.dependencies) visit(dependency);
  };
  visit(file);
  return [...files.values()];
}
