import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  block,
  normals,
  passOrder,
  permutation,
  philox,
  PURPOSES,
  randomStream,
  type SampleKey,
  shuffledOrder,
  uniform,
} from "./random.ts";

const key: SampleKey = { seed: 7, purpose: "rollout", stage: 1, step: 3, group: 5, draw: 0, sample: 2 };
const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe("Philox4x32-10", () => {
  // The vectors of Random123's tests/kat_vectors.
  it.each([
    [[0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      "d16cfe09 94fdcceb 5001e420 24126ea1",
    ],
  ] as const)("gives the published words for counter %j and key %j", (counter, [key0, key1], words) => {
    expect(
      philox(counter, key0, key1)
        .map((n) => n.toString(16).padStart(8, "0"))
        .join(" "),
    ).toBe(words);
  });

  it("agrees with the definition in big integers", () => {
    const agrees = fc.property(fc.tuple(word, word, word, word), word, word, (counter, key0, key1) => {
      const mask = 0xffffffffn;
      let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
      let [k0, k1] = [BigInt(key0), BigInt(key1)];
      for (let round = 0; round < 10; round++) {
        const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
        [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask, (p0 >> 32n) ^ c3 ^ k1, p0 & mask];
        [k0, k1] = [(k0 + 0x9e3779b9n) & mask, (k1 + 0xbb67ae85n) & mask];
      }
      expect(philox(counter, key0, key1)).toEqual([c0, c1, c2, c3].map(Number));
    });
    fc.assert(agrees);
  });
});

describe("D2: a number is a function of its key and position alone", () => {
  it("repeats, in any order", () => {
    const forwards = Array.from({ length: 32 }, (_, t) => uniform(randomStream(key), t));
    const stream = randomStream({ ...key });
    const backwards = Array.from({ length: 32 }, (_, t) => uniform(stream, 31 - t)).toReversed();
    expect(backwards).toEqual(forwards);
  });

  const changes = {
    seed: { seed: 8 },
    "seed above 32 bits": { seed: 7 + 2 ** 32 },
    purpose: { purpose: "evaluation" },
    stage: { stage: 2 },
    step: { step: 4 },
    group: { group: 6 },
    draw: { draw: 1 },
    sample: { sample: 3 },
  } as const satisfies Record<string, Partial<SampleKey>>;
  it.each(Object.entries(changes))("depends on %s", (_, change) => {
    const here = Array.from({ length: 4 }, (__, t) => block(randomStream(key), t).join());
    const there = Array.from({ length: 4 }, (__, t) => block(randomStream({ ...key, ...change }), t).join());
    expect(here.filter((words) => there.includes(words))).toEqual([]);
  });

  it("pins the streams: a change here breaks every recorded run", () => {
    const first = PURPOSES.map((purpose) => block(randomStream({ ...key, purpose }), 0)[0].toString(16));
    expect(first).toMatchInlineSnapshot(`
      [
        "cfe2f314",
        "1566d7ce",
        "145e1259",
        "73232cdd",
      ]
    `);
  });

  it("refuses a key outside of its range, naming the field", () => {
    expect(() => randomStream({ ...key, step: -1 })).toThrow(/RANDOM_KEY.*step is -1/);
    expect(() => randomStream({ ...key, seed: 0.5 })).toThrow(/seed is 0.5/);
    expect(() => randomStream({ ...key, sample: 2 ** 32 })).toThrow(/sample/);
  });
});

describe("distributions", () => {
  it("is uniform: mean, variance and a chi-square over 64 bins", () => {
    const stream = randomStream(key);
    const draws = Array.from({ length: 65536 }, (_, t) => uniform(stream, t));
    const mean = draws.reduce((sum, u) => sum + u, 0) / draws.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(5 / Math.sqrt(12 * draws.length));
    const bins = new Float64Array(64);
    for (const u of draws) bins[Math.floor(u * 64)]! += 1;
    const chi = bins.reduce((sum, n) => sum + (n - 1024) ** 2 / 1024, 0);
    expect(chi).toBeLessThan(120); // 63 degrees of freedom: p ≈ 2e-5
    expect(draws.every((u) => u >= 0 && u < 1 && Math.fround(u) === u)).toBe(true);
  });

  it("is normal: moments, and a prefix that does not depend on the count", () => {
    const stream = randomStream({ ...key, purpose: "init" });
    const z = normals(stream, 40000);
    const moment = (power: number) => z.reduce((sum, x) => sum + x ** power, 0) / z.length;
    expect(Math.abs(moment(1))).toBeLessThan(0.025);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.035);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.25);
    expect([...normals(stream, 7)]).toEqual([...z.subarray(0, 7)]);
  });

  it("permutes", () => {
    const seeds = fc.integer({ min: 0, max: 2 ** 53 - 1 });
    const permutes = fc.property(fc.integer({ min: 0, max: 300 }), seeds, (count, seed) => {
      const order = permutation(randomStream({ ...key, seed }), count);
      expect(order.toSorted()).toEqual(Int32Array.from({ length: count }, (_, i) => i));
    });
    fc.assert(permutes);
  });

  it("shuffles anew each epoch and the same each time", () => {
    const order = (epoch: number) => shuffledOrder({ seed: 1, stage: 0, epoch, count: 100 }).join();
    expect(order(0)).toBe(order(0));
    expect(new Set([0, 1, 2, 3].map(order)).size).toBe(4);
  });

  it("puts each row first equally often", () => {
    const firsts = new Float64Array(6);
    for (let epoch = 0; epoch < 6000; epoch++)
      firsts[shuffledOrder({ seed: 1, stage: 0, epoch, count: 6 })[0]!]! += 1;
    expect(Math.max(...firsts)).toBeLessThan(1000 + 5 * 29);
    expect(Math.min(...firsts)).toBeGreaterThan(1000 - 5 * 29);
  });
});

describe("passOrder", () => {
  it("is a permutation of its own for every pass and step, and no data order", () => {
    const at = { seed: 3, stage: 1, step: 2, pass: 0, count: 50 };
    const orders = [
      passOrder(at),
      passOrder({ ...at, pass: 1 }),
      passOrder({ ...at, step: 3 }),
      passOrder({ ...at, stage: 2 }),
      shuffledOrder({ seed: 3, stage: 1, epoch: 2, count: 50 }),
    ];
    for (const order of orders)
      expect([...order].toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(new Set(orders.map((order) => order.join())).size).toBe(5);
    expect(passOrder(at)).toEqual(orders[0]);
  });
});
