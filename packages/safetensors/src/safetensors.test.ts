import { readFileSync } from "node:fs";
import { isOarlockError } from "@oarlock/errors";
import { type DType, DTYPES, bytesPerElement, createTypedArray, type Tensor, tensor } from "@oarlock/tensor";
import { requireFile } from "@oarlock/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ByteSource,
  bytesSource,
  encodeSafetensors,
  openSafetensors,
  planSafetensors,
} from "./index.ts";

const bytesOf = ({ data }: Tensor): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const tensors: fc.Arbitrary<Tensor> = fc
  .record({
    dtype: fc.constantFrom<DType>(...DTYPES),
    shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
    seed: fc.integer(),
  })
  .map(({ dtype, shape, seed }) => {
    const count = shape.reduce((product, dim) => product * dim, 1);
    const raw = Uint8Array.from({ length: count * bytesPerElement(dtype) }, (_, i) => (seed + 7 * i) & 0xff);
    return tensor(dtype, shape, createTypedArray(dtype, count, raw.buffer));
  });

const files = fc.record({
  content: fc
    .array(fc.tuple(fc.oneof(fc.string(), fc.constantFrom("0", "__proto__", "a.weight", '"')), tensors), {
      maxLength: 6,
    })
    .map((pairs) => new Map(pairs)),
  metadata: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3, noNullPrototype: true }),
});

/** A file with this header and `dataBytes` zeros. */
const fileOf = (header: string | object, dataBytes: number, claimed?: bigint): Uint8Array => {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
};
const readAll = async (bytes: Uint8Array): Promise<string> => {
  const file = await openSafetensors(bytesSource(bytes));
  for (const name of file.tensors.keys()) await file.read(name);
  return "read";
};
const entry = (dtype: unknown, shape: unknown, offsets: unknown) => ({ dtype, shape, data_offsets: offsets });

describe("a written file", () => {
  it("reads back: names, types, shapes, bytes, metadata", async () => {
    await fc.assert(
      fc.asyncProperty(files, async ({ content, metadata }) => {
        const file = await openSafetensors(bytesSource(encodeSafetensors(content, metadata)));
        expect(file.metadata).toEqual(metadata);
        expect([...file.tensors.keys()].toSorted()).toEqual([...content.keys()].toSorted());
        for (const [name, expected] of content) {
          const read = await file.read(name);
          expect([read.dtype, read.shape]).toEqual([expected.dtype, expected.shape]);
          expect(bytesOf(read)).toEqual(bytesOf(expected));
        }
      }),
    );
  });

  it("gives rows, and reads no other byte for them", async () => {
    const bytes = encodeSafetensors({
      w: tensor(
        "float32",
        [5, 2],
        Float32Array.from({ length: 10 }, (_, i) => i),
      ),
      first: tensor("float64", [1]),
    });
    const inner = bytesSource(bytes);
    const reads: number[] = [];
    const source: ByteSource = {
      sizeBytes: inner.sizeBytes,
      read: (target, offset) => (reads.push(target.length), inner.read(target, offset)),
    };
    const file = await openSafetensors(source);
    reads.length = 0;
    const rows = await file.slice("w", { start: 1, end: 3 });
    expect(rows.shape).toEqual([2, 2]);
    expect([...(rows.data as Float32Array)]).toEqual([2, 3, 4, 5]);
    expect(reads).toEqual([16]);
    expect((await file.slice("w", { start: 5, end: 5 })).data).toHaveLength(0);
    expect(() => file.slice("w", { start: 1, end: 6 })).toThrow(/SAFETENSORS_RANGE.*rows 1 to 6 .* has 5/);
    expect(() => file.slice("w", { start: -1, end: 2 })).toThrow(/SAFETENSORS_RANGE/);
    expect(() => file.read("v")).toThrow(/SAFETENSORS_NO_TENSOR.*"v"/);
  });

  it("lies aligned, larger element types first, its data at a multiple of 8", () => {
    const { entries, header } = planSafetensors([
      { name: "bytes", dtype: "uint8", shape: [3] },
      { name: "halves", dtype: "float16", shape: [5] },
      { name: "doubles", dtype: "float64", shape: [1] },
    ]);
    expect(entries.map(({ name }) => name)).toEqual(["doubles", "halves", "bytes"]);
    expect(header.length % 8).toBe(0);
    for (const { offsetBytes, dtype } of entries) expect(offsetBytes % bytesPerElement(dtype)).toBe(0);
  });

  it("refuses names that are taken", () => {
    const plan = { dtype: "bool", shape: [1] } as const;
    const twice = [
      { name: "a", ...plan },
      { name: "a", ...plan },
    ];
    expect(() => planSafetensors(twice)).toThrow(/SAFETENSORS_WRITE.*"a" is taken/);
    expect(() => planSafetensors([{ name: "__metadata__", ...plan }])).toThrow(/is taken/);
  });
});

describe("X1: a wrong file is refused with its reason", () => {
  const one = (dtype: unknown, shape: unknown, offsets: unknown) => ({ w: entry(dtype, shape, offsets) });
  const cases: [string, Uint8Array, RegExp][] = [
    ["empty", new Uint8Array(0), /0 bytes are no safetensors file/],
    ["too short", new Uint8Array(7), /7 bytes are no safetensors file/],
    [
      "huge header",
      fileOf("{}", 0, 2n ** 63n),
      /claims 9223372036854775808 bytes; accepted in this file: 2 to 2/,
    ],
    ["header beyond the file", fileOf("{}", 0, 3n), /claims 3 bytes/],
    ["no JSON", fileOf("{x}", 0), /no JSON/],
    ["no object", fileOf("[]", 0), /no JSON object/],
    ["no UTF-8", (() => fileOf("{}", 0).fill(0xff, 8))(), /no UTF-8/],
    [
      "duplicate name",
      fileOf(
        `{"w":${JSON.stringify(entry("U8", [1], [0, 1]))},"\\u0077":${JSON.stringify(entry("U8", [1], [1, 2]))}}`,
        2,
      ),
      /"w" twice/,
    ],
    [
      "duplicate field",
      fileOf('{"w":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', 1),
      /"dtype" twice/,
    ],
    ["entry no object", fileOf({ w: 1 }, 0), /tensor "w": its entry is no object/],
    ["unknown dtype", fileOf(one("F8_E4M3", [1], [0, 1]), 1), /dtype is "F8_E4M3"; accepted: F64, F32/],
    ["shape of text", fileOf(one("U8", ["1"], [0, 1]), 1), /shape is no list/],
    ["negative shape", fileOf(one("U8", [-1, -1], [0, 1]), 1), /shape is no list/],
    ["fractional shape", fileOf(one("U8", [0.5, 2], [0, 1]), 1), /shape is no list/],
    [
      "absurd shape",
      fileOf(one("F32", [2 ** 40, 2 ** 40], [0, 4]), 4),
      /takes 4\.8\d*e\+24 bytes, its data_offsets hold 4/,
    ],
    ["too many dimensions", fileOf(one("U8", Array(40).fill(1), [0, 1]), 1), /at most 32 sizes/],
    [
      "offsets beyond the file",
      fileOf(one("U8", [2], [0, 2]), 1),
      /\[0, 2\] do not lie in the file's 1 bytes/,
    ],
    ["offsets reversed", fileOf(one("U8", [1], [1, 0]), 1), /do not lie/],
    ["offsets no pair", fileOf(one("U8", [1], [0]), 1), /no pair/],
    ["offsets negative", fileOf(one("U8", [1], [-1, 0]), 1), /no pair/],
    ["wrong size", fileOf(one("F32", [2], [0, 4]), 4), /takes 8 bytes, its data_offsets hold 4/],
    ["overlap", fileOf({ a: entry("U8", [2], [0, 2]), b: entry("U8", [2], [1, 3]) }, 3), /"b" overlaps/],
    [
      "hole",
      fileOf({ a: entry("U8", [1], [0, 1]), b: entry("U8", [1], [2, 3]) }, 3),
      /1 bytes before tensor "b"/,
    ],
    ["trailing bytes", fileOf(one("U8", [1], [0, 1]), 2), /1 bytes at the end/],
    ["metadata of numbers", fileOf({ __metadata__: { a: 1 } }, 0), /__metadata__\.a is number/],
    ["metadata no object", fileOf({ __metadata__: "x" }, 0), /__metadata__ is no object/],
  ];
  it.each(cases)("%s", async (_, bytes, reason) => {
    await expect(openSafetensors(bytesSource(bytes))).rejects.toThrow(reason);
    await expect(openSafetensors(bytesSource(bytes))).rejects.toMatchObject({ code: "SAFETENSORS_INVALID" });
  });

  it("whatever bytes are changed, a file is read within its size or refused: nothing else is thrown", async () => {
    const mutations = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(files, mutations, fc.nat(40), async ({ content, metadata }, changes, cut) => {
        const whole = encodeSafetensors(content, metadata);
        const bytes = whole.slice(0, Math.max(0, whole.length - (cut % 4 === 0 ? cut : 0)));
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        const outcome = await readAll(bytes).catch((reason: unknown) => reason);
        expect(outcome === "read" || isOarlockError(outcome, "SAFETENSORS_INVALID"), String(outcome)).toBe(
          true,
        );
      }),
      { numRuns: 500 },
    );
  });
});

const stories = requireFile("models", "../shared/models/stories260K/hf/model.safetensors");
describe.skipIf(stories.absent)(`a file written by the reference library${stories.note}`, () => {
  it("is read, and written again byte for byte in content", async () => {
    const file = await openSafetensors(bytesSource(readFileSync(stories.path)));
    expect(file.tensors.get("model.embed_tokens.weight")).toMatchObject({
      dtype: "float32",
      shape: [512, 64],
    });
    const content = new Map<string, Tensor>();
    for (const name of file.tensors.keys()) content.set(name, await file.read(name));
    const again = await openSafetensors(bytesSource(encodeSafetensors(content, file.metadata)));
    for (const [name, expected] of content) expect((await again.read(name)).data).toEqual(expected.data);
  });
});
