export { block, initialNormals, normals, permutation, PURPOSES, randomStream, shuffledOrder, uniform } from "./random.ts";
export type { Purpose, RandomStream, SampleKey } from "./random.ts";
