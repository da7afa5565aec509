/**
 * Whether encoded messages mean the same to all that read them. The decoder takes the bytes of a known field for what its type wants,
 * whatever the tag says of them, and lets what is within a message reach beyond it; who skips fields goes by tags and lengths. Bytes
 * in which the two differ can hide a field from one of them.
 */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** The first field, at any depth, that does not lie there as its type wants. Throws, as the decoder does, where bytes are missing. */
export function misencodedField({ fields }: DescMessage, message: Uint8Array): DescField | undefined {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const field = fields.find((one) => one.number === number);
    if (field !== undefined && type === WireType.LengthDelimited) {
      const found = misencodedWithin(field, reader.bytes());
      if (found !== undefined) return found;
      continue;
    }
    if (field !== undefined && type !== wireTypeOf(field)) return field;
    reader.skip(type, number);
  }
  return undefined;
}

function misencodedWithin(field: DescField, content: Uint8Array): DescField | undefined {
  if (wireTypeOf(field) !== WireType.LengthDelimited) return isPacked(field, content) ? undefined : field;
  return field.message === undefined ? undefined : misencodedField(field.message, content);
}

/** Whether it is a list's numbers, one after the other, the last of which ends where they end. */
function isPacked(field: DescField, content: Uint8Array): boolean {
  if (field.fieldKind !== "list") return false;
  const type = wireTypeOf(field);
  if (type === WireType.Varint) return (content.at(-1) ?? 0) < 0x80;
  return content.byteLength % (type === WireType.Bit64 ? 8 : 4) === 0;
}

const FIXED = new Map<ScalarType, WireType>([
  [ScalarType.DOUBLE, WireType.Bit64],
  [ScalarType.FIXED64, WireType.Bit64],
  [ScalarType.SFIXED64, WireType.Bit64],
  [ScalarType.FLOAT, WireType.Bit32],
  [ScalarType.FIXED32, WireType.Bit32],
  [ScalarType.SFIXED32, WireType.Bit32],
  [ScalarType.STRING, WireType.LengthDelimited],
  [ScalarType.BYTES, WireType.LengthDelimited],
]);

/** Of one value; undefined for maps, which nothing that is passed on has. */
function wireTypeOf(field: DescField): WireType | undefined {
  if (field.fieldKind === "map") return undefined;
  if (field.message !== undefined) return WireType.LengthDelimited;
  return (field.scalar === undefined ? undefined : FIXED.get(field.scalar)) ?? WireType.Varint;
}
