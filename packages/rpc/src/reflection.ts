/** The standard reflection service, so that tools such as grpcurl know every method and message without our sources. */
import { type DescFile, type DescService, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type DescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { service as health } from "grpc-health-check";

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
  new ReflectionService(Object.fromEntries([...described, ["health", healthFile()]])).addToServer(server);
}

type Described = ConstructorParameters<typeof ReflectionService>[0][string];

/** The health service's file, as its package has loaded it: it lies beside what the server asks of a method. */
function healthFile(): Described {
  const [method] = Object.values(health) as { requestType?: { fileDescriptorProtos: readonly Buffer[] } }[];
  const files = (method?.requestType?.fileDescriptorProtos ?? []).map((bytes) => {
    const file = fromBinary(FileDescriptorProtoSchema, bytes);
    file.messageType.forEach(nameMapEntries);
    return Buffer.from(toBinary(FileDescriptorProtoSchema, file));
  });
  return { format: "Protocol Buffer 3 DescriptorProto", type: {}, fileDescriptorProtos: files };
}

/** protobufjs writes the entries of a map without the suffix that protobuf demands: tools would refuse the whole file. */
function nameMapEntries({ nestedType, field }: DescriptorProto): void {
  for (const entry of nestedType) {
    if (entry.options?.mapEntry !== true || entry.name.endsWith("Entry")) continue;
    for (const one of field) if (one.typeName.split(".").at(-1) === entry.name) one.typeName += "Entry";
    entry.name += "Entry";
  }
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
