/** The tables of rotary position embedding as tensors that every graph reads: as long as some row needed so far, or up to twice that. */
import { type LlamaConfig, rotaryTables } from "@oarlock/nn";
import type { OrtRuntime, OrtTensor } from "@oarlock/ort";
import { disposeAll, type Tensors } from "./state.ts";

export interface Rotary {
  /** Tables of `length` positions at least, by input name. They are replaced by a later call: bind them at once. */
  of(length: number): Tensors;
  close(): void;
}

/** Positions that tables begin with: small ones are not worth a second making. */
const FIRST = 256;

export function createRotary(ort: OrtRuntime, config: LlamaConfig): Rotary {
  let held: { readonly positions: number; readonly tables: Tensors } | undefined;
  const close = (): void => {
    disposeAll(held?.tables);
    held = undefined;
  };
  return {
    of(length) {
      if (held !== undefined && held.positions >= length) return held.tables;
      close();
      const doubled = 2 ** Math.ceil(Math.log2(Math.max(FIRST, length)));
      const positions = Math.min(config.maxPositions, doubled);
      const { cos, sin } = rotaryTables(config, positions);
      const tensorOf = (data: Float32Array): OrtTensor =>
        ort.tensor("float32", [positions, config.headSize / 2], data);
      held = { positions, tables: { cos: tensorOf(cos), sin: tensorOf(sin) } };
      return held.tables;
    },
    close,
  };
}
