/**
 * Two drivers, one contract: the same graphs, inputs and mistakes through ONNX Runtime's C API (`native`) and through
 * onnxruntime-node in a worker (`binding`). The results are compared with numbers worked out by hand, and bit for bit
 * with each other.
 */
import { isOarlockError } from "@oarlock/errors";
import { add, cast, createGraph, matMul, mul, reduceSum, reshape, serializeModel, sqrt } from "@oarlock/onnx";
import { openOrt, type OrtDriver, type OrtRuntime } from "@oarlock/ort";
import { testedEngine } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const codeOf = (call: () => unknown): string => {
  try {
    call();
  } catch (error) {
    return isOarlockError(error) && "code" in error
      ? String(error.code)
      : `not an OarlockError: ${String(error)}`;
  }
  return "no error";
};
const codeOfAsync = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "no error",
    (error: unknown) =>
      codeOf(() => {
        throw error;
      }),
  );

/** y[n, 3] = x[n, 2]·w[2, 3] + b[3], and the sum of y. */
function affine(): Uint8Array {
  const graph = createGraph("affine");
  const x = graph.input("x", "float32", ["n", 2]);
  const b = graph.input("b", "float32", [3]);
  const y = add(matMul(x, graph.input("w", "float32", [2, 3])), b);
  graph.output("y", y);
  graph.output("sum", reduceSum(y, { axes: [0, 1] }));
  return serializeModel(graph);
}

const drivers: OrtDriver[] = ["native", "binding"];
/** The binding is for processors only. */
const engineOf = (driver: OrtDriver) => (driver === "native" ? { driver, ...testedEngine() } : { driver });

describe.each(drivers)("driver %s", (driver) => {
  let ort: OrtRuntime;
  beforeAll(async () => {
    ort = await openOrt(engineOf(driver));
  });
  afterAll(() => ort.close());

  const inputs = (): {
    x: ReturnType<OrtRuntime["tensor"]>;
    w: ReturnType<OrtRuntime["tensor"]>;
    b: ReturnType<OrtRuntime["tensor"]>;
  } => ({
    x: ort.tensor("float32", [2, 2], Float32Array.of(1, 2, 3, 4)),
    w: ort.tensor("float32", [2, 3], Float32Array.of(1, 0, -1, 0, 1, 2)),
    b: ort.tensor("float32", [3], Float32Array.of(10, 20, 30)),
  });
  const expected = [11, 22, 33, 13, 24, 35];

  test("says which driver, library and instruction set it is (D1b)", () => {
    expect(ort.driver).toBe(driver);
    expect(ort.fingerprint).toMatchObject({
      engine: "onnxruntime",
      driver,
      provider: driver === "native" ? testedEngine().provider : "cpu",
      threads: 1,
      optimization: "all",
    });
    expect(ort.fingerprint.version).toMatch(/^1\.\d+\.\d+$/);
    expect(ort.fingerprint.instructionSet).toMatch(/^(x64|arm64)-\w+$/);
  });

  test("lists inputs and outputs with their types, numbers and symbols", async () => {
    const session = await ort.createSession(affine());
    expect(session.inputs).toEqual([
      { name: "x", dtype: "float32", shape: ["n", 2] },
      { name: "b", dtype: "float32", shape: [3] },
      { name: "w", dtype: "float32", shape: [2, 3] },
    ]);
    expect(session.outputs.map(({ name }) => name)).toEqual(["y", "sum"]);
    await session.close();
  });

  test("writes preallocated outputs, blocking and not, all or some of them", async () => {
    const session = await ort.createSession(affine());
    const y = ort.tensor("float32", [2, 3]);
    const sum = ort.tensor("float32", []);
    const both = session.bind(inputs(), { y, sum });
    await session.run(both);
    expect([...y.data]).toEqual(expected);
    expect([...sum.data]).toEqual([138]);
    y.data.fill(0 as never);
    session.runSync(session.bind(inputs(), { y }));
    expect([...y.data]).toEqual(expected);
    await session.close();
  });

  test("a binding sees the inputs as they are at each run", async () => {
    const session = await ort.createSession(affine());
    const given = inputs();
    const y = ort.tensor("float32", [2, 3]);
    const binding = session.bind(given, { y });
    for (const shift of [0, 5]) {
      (given.b.data as Float32Array).set([10 + shift, 20 + shift, 30 + shift]);
      await session.run(binding);
      expect([...y.data]).toEqual(expected.map((value) => value + shift));
    }
    await session.close();
  });

  test("tensors lie over views of a large shared buffer; nothing beside them is written", async () => {
    const flat = new Float32Array(new SharedArrayBuffer(4096)).fill(-1);
    flat.set([1, 2, 3, 4], 16);
    flat.set([1, 0, -1, 0, 1, 2], 32);
    flat.set([10, 20, 30], 48);
    const session = await ort.createSession(affine());
    const y = ort.tensor("float32", [2, 3], flat.subarray(64, 70));
    const views = {
      x: ort.tensor("float32", [2, 2], flat.subarray(16, 20)),
      w: ort.tensor("float32", [2, 3], flat.subarray(32, 38)),
      b: ort.tensor("float32", [3], flat.subarray(48, 51)),
    };
    await session.run(session.bind(views, { y }));
    expect([...flat.subarray(63, 71)]).toEqual([-1, ...expected, -1]);
    await session.close();
  });

  test("initializers are attached by name, from views, beside the model", async () => {
    const graph = createGraph("attached");
    const w = graph.initializer("w", "float32", [2, 3]);
    const b = graph.initializer("b", "float32", [3]);
    graph.output("y", add(matMul(graph.input("x", "float32", [2, 2]), w), b));
    const { x, ...initializers } = inputs();
    const session = await ort.createSession(serializeModel(graph), { initializers });
    const y = ort.tensor("float32", [2, 3]);
    await session.run(session.bind({ x }, { y }));
    expect([...y.data]).toEqual(expected);
    await session.close();
  });

  test("int64, int32, uint8, bool and float64 tensors survive a cast graph", async () => {
    const graph = createGraph("casts");
    for (const dtype of ["int64", "int32", "uint8", "bool", "float64"] as const) {
      graph.output(`${dtype}Out`, cast(cast(graph.input(dtype, dtype, [2]), "float32"), dtype));
    }
    const session = await ort.createSession(serializeModel(graph));
    const given = {
      int64: ort.tensor("int64", [2], BigInt64Array.of(-7n, 9n)),
      int32: ort.tensor("int32", [2], Int32Array.of(-3, 4)),
      uint8: ort.tensor("uint8", [2], Uint8Array.of(0, 200)),
      bool: ort.tensor("bool", [2], Uint8Array.of(1, 0)),
      float64: ort.tensor("float64", [2], Float64Array.of(0.5, -2)),
    };
    const results = Object.fromEntries(
      session.outputs.map(({ name, dtype }) => [name, ort.tensor(dtype, [2])]),
    );
    await session.run(session.bind(given, results));
    for (const [name, { data }] of Object.entries(given))
      expect([...(results[`${name}Out`]?.data ?? [])]).toEqual([...data]);
    await session.close();
  });

  test("empty tensors are allowed", async ({ skip }) => {
    skip(ort.provider === "cuda", "CUDA's sum over nothing is an error");
    const session = await ort.createSession(affine());
    const sum = ort.tensor("float32", []);
    await session.run(session.bind({ ...inputs(), x: ort.tensor("float32", [0, 2]) }, { sum }));
    expect([...sum.data]).toEqual([0]);
    await session.close();
  });

  test("runs of several sessions at once give each its own result", async () => {
    const sessions = await Promise.all([1, 2, 3, 4].map(() => ort.createSession(affine())));
    const results = await Promise.all(
      sessions.map(async (session, i) => {
        const y = ort.tensor("float32", [2, 3]);
        const x = ort.tensor("float32", [2, 2], Float32Array.of(i, i, i, i));
        await session.run(session.bind({ ...inputs(), x }, { y }));
        return [...y.data];
      }),
    );
    expect(results).toEqual([0, 1, 2, 3].map((i) => [10 + i, 20 + i, 30 + i, 10 + i, 20 + i, 30 + i]));
    await Promise.all(sessions.map((session) => session.close()));
  });

  test("X1: wrong names, types, shapes and sizes are refused before native code", async () => {
    const session = await ort.createSession(affine());
    const given = inputs();
    const y = ort.tensor("float32", [2, 3]);
    expect(codeOf(() => session.bind({ x: given.x, w: given.w }, { y }))).toBe("ORT_MISSING_NAME");
    expect(codeOf(() => session.bind({ ...given, z: given.x }, { y }))).toBe("ORT_UNKNOWN_NAME");
    expect(codeOf(() => session.bind(given, { z: y }))).toBe("ORT_UNKNOWN_NAME");
    expect(codeOf(() => session.bind(given, {}))).toBe("ORT_MISSING_NAME");
    expect(codeOf(() => session.bind({ ...given, b: ort.tensor("int32", [3]) }, { y }))).toBe(
      "ORT_DTYPE_MISMATCH",
    );
    expect(codeOf(() => session.bind({ ...given, b: ort.tensor("float32", [4]) }, { y }))).toBe(
      "ORT_SHAPE_MISMATCH",
    );
    expect(codeOf(() => session.bind({ ...given, b: ort.tensor("float32", [3, 1]) }, { y }))).toBe(
      "ORT_SHAPE_MISMATCH",
    );
    expect(codeOf(() => session.bind(given, { y: ort.tensor("float32", [5, 3]) }))).toBe(
      "ORT_SHAPE_MISMATCH",
    ); // n is 2
    expect(codeOf(() => ort.tensor("float32", [2, 2], new Float32Array(3)))).toBe("ORT_BYTE_LENGTH_MISMATCH");
    expect(codeOf(() => ort.tensor("float32", [4], new Int32Array(4)))).toBe("ORT_DTYPE_MISMATCH");
    expect(codeOf(() => ort.tensor("float32", [-1, 2]))).toBe("ORT_INVALID_SHAPE");
    expect(codeOf(() => ort.tensor("float32", [2 ** 40, 2 ** 40]))).toBe("ORT_INVALID_SHAPE");
    await session.close();
  });

  test("X1: use after release, of another session's binding, of a transferred buffer", async () => {
    const [session, other] = [await ort.createSession(affine()), await ort.createSession(affine())];
    const given = inputs();
    const y = ort.tensor("float32", [2, 3]);
    const binding = session.bind(given, { y });
    expect(await codeOfAsync(other.run(binding))).toBe("ORT_FOREIGN_BINDING");
    given.x.dispose();
    expect(await codeOfAsync(session.run(binding))).toBe("ORT_RELEASED");
    expect(codeOf(() => session.runSync(binding))).toBe("ORT_RELEASED");
    expect(codeOf(() => session.bind(given, { y }))).toBe("ORT_RELEASED");
    const moved = session.bind(inputs(), { y });
    structuredClone(y.data.buffer, { transfer: [y.data.buffer as ArrayBuffer] });
    expect(await codeOfAsync(session.run(moved))).toBe("ORT_DETACHED_BUFFER");
    const late = session.bind(inputs(), { sum: ort.tensor("float32", []) });
    late.dispose();
    expect(await codeOfAsync(session.run(late))).toBe("ORT_RELEASED");
    const closed = session.bind(inputs(), { sum: ort.tensor("float32", []) });
    await session.close();
    expect(await codeOfAsync(session.run(closed))).toBe("ORT_RELEASED");
    await other.close();
  });

  test("one binding does not run twice at once; disposing it and closing the session wait for the run", async () => {
    const session = await ort.createSession(affine());
    const y = ort.tensor("float32", [2, 3]);
    const given = inputs();
    const binding = session.bind(given, { y });
    const first = session.run(binding);
    expect(await codeOfAsync(session.run(binding))).toBe("ORT_BINDING_BUSY");
    binding.dispose();
    for (const tensor of Object.values(given)) tensor.dispose();
    const closing = session.close();
    await first;
    await closing;
    expect([...y.data]).toEqual(expected);
  });

  test("a model that is no model, and an output of the wrong size, are errors and not crashes", async () => {
    expect(await codeOfAsync(ort.createSession(new Uint8Array(0)))).toBe("ORT_EMPTY_MODEL");
    expect(await codeOfAsync(ort.createSession(new Uint8Array(64).fill(255)))).toBe("ORT_CALL_FAILED");
    const graph = createGraph("dynamic");
    graph.output("y", reshape(graph.input("x", "float32", ["a", "b"]), [-1]));
    const session = await ort.createSession(serializeModel(graph));
    const binding = session.bind({ x: ort.tensor("float32", [2, 3]) }, { y: ort.tensor("float32", [5]) });
    expect(await codeOfAsync(session.run(binding))).toMatch(/^ORT_(CALL_FAILED|SHAPE_MISMATCH)$/);
    await session.close();
  });

  test("a device tensor is filled, read and written in place by copies and runs; on a processor it is host memory", async () => {
    if (driver === "binding" && ort.provider !== "cpu") return;
    const session = await ort.createSession(affine());
    const given = inputs();
    const held = { w: ort.deviceTensor("float32", [2, 3]), y: ort.deviceTensor("float32", [2, 3]) };
    expect(held.w.location).toBe(ort.provider === "cpu" ? "host" : "device");
    ort.copy([given.w], [held.w]);
    await session.run(session.bind({ ...given, w: held.w }, { y: held.y }));
    const back = ort.tensor("float32", [2, 3]);
    ort.copy([held.y], [back]);
    expect([...back.data]).toEqual(expected);
    ort.copy([held.y], [held.w]); // within the device
    ort.copy([held.w], [given.w]);
    expect([...given.w.data]).toEqual(expected);
    if (held.w.location === "device") expect(codeOf(() => held.w.data)).toBe("ORT_DEVICE_TENSOR");
    expect(codeOf(() => ort.copy([back], []))).toBe("ORT_SHAPE_MISMATCH");
    expect(codeOf(() => ort.copy([given.x], [held.w]))).toBe("ORT_SHAPE_MISMATCH");
    await session.close();
    ort.copy([held.w], [back]); // what it holds outlives every session
    expect([...back.data]).toEqual(expected);
    held.w.dispose();
    held.y.dispose();
  });

  test("a view is a part of a tensor's memory, on the host or where state resides", async () => {
    const session = await ort.createSession(affine());
    const flat = ort.residence === "host" ? ort.tensor("float32", [16]) : ort.deviceTensor("float32", [16]);
    ort.copy([ort.tensor("float32", [16], new Float32Array(16).fill(-1))], [flat]);
    const given = inputs();
    const [w, y] = [ort.view(flat, 1, [2, 3]), ort.view(flat, 8, [2, 3])];
    ort.copy([given.w], [w]);
    await session.run(session.bind({ ...given, w }, { y }));
    const back = ort.tensor("float32", [16]);
    ort.copy([flat], [back]);
    expect([...back.data]).toEqual([-1, 1, 0, -1, 0, 1, 2, -1, ...expected, -1, -1]);
    expect(codeOf(() => ort.view(flat, 11, [2, 3]))).toBe("ORT_INVALID_SHAPE");
    expect(codeOf(() => ort.view(flat, -1, [1]))).toBe("ORT_INVALID_SHAPE");
    flat.dispose();
    ort.copy([y], [given.w]); // a view holds the memory that it is a part of
    expect([...given.w.data]).toEqual(expected);
    expect(codeOf(() => ort.view(flat, 0, [1]))).toBe("ORT_RELEASED");
    await session.close();
  });

  test("an aborted signal stops a run before it starts", async () => {
    const session = await ort.createSession(affine());
    const binding = session.bind(inputs(), { y: ort.tensor("float32", [2, 3]) });
    expect(await codeOfAsync(session.run(binding, AbortSignal.abort()))).toBe("ORT_RUN_ABORTED");
    await session.run(binding); // the binding is free again
    await session.close();
  });

  test("options are checked", async () => {
    expect(await codeOfAsync(openOrt({ driver, threads: 0 }))).toBe("ORT_INVALID_OPTION");
    expect(await codeOfAsync(openOrt({ driver, threads: 1.5 }))).toBe("ORT_INVALID_OPTION");
  });
});

test("both drivers give the same bits", async () => {
  const graph = createGraph("bits");
  const a = graph.input("a", "float32", [64, 48]);
  const product = matMul(a, graph.input("b", "float32", [48, 80]));
  graph.output("y", sqrt(mul(product, product)));
  const model = serializeModel(graph);
  const noise = (length: number): Float32Array =>
    Float32Array.from({ length }, (_, i) => Math.sin(i * 12.9898) * 43.7585);
  const results = await Promise.all(
    drivers.map(async (driver) => {
      const ort = await openOrt({ driver });
      const session = await ort.createSession(model);
      const y = ort.tensor("float32", [64, 80]);
      const given = {
        a: ort.tensor("float32", [64, 48], noise(64 * 48)),
        b: ort.tensor("float32", [48, 80], noise(48 * 80)),
      };
      await session.run(session.bind(given, { y }));
      await ort.close();
      return Buffer.from(y.data.buffer).toString("base64");
    }),
  );
  expect(results[0]).toBe(results[1]);
});

test("a provider that is missing is named, with the reason", async () => {
  await expect(openOrt({ driver: "native", provider: "cuda", cudaLibraries: "/nowhere" })).rejects.toThrow(
    /ORT_PROVIDER_MISSING.*CUDA 13/,
  );
});

test("auto takes the native driver and says why; another library that does not load falls back with the reason", async () => {
  const auto = await openOrt();
  expect([auto.driver, auto.driverReason]).toEqual(["native", "the library offers the C API"]);
  await auto.close();
  await expect(openOrt({ driver: "native", library: "/nowhere/libonnxruntime.so" })).rejects.toThrow(
    /ORT_LIBRARY_NOT_LOADED/,
  );
});
