/**
 * A call marshalled once: four persistent C arrays (names and values of inputs and outputs). Running it passes eight
 * machine words, however many tensors there are.
 */
import { OarlockError } from "@oarlock/errors";
import { checkAlive, checkBinding } from "../check.ts";
import type { OrtBinding, OrtSession, OrtTensor } from "../types.ts";
import { pointerArray, stringArray, type Pinned } from "./pointers.ts";
import { nativeTensor } from "./tensor.ts";

export interface NativeBinding extends OrtBinding {
  readonly owner: object;
  readonly inputNames: Pinned;
  readonly inputValues: Pinned;
  readonly inputCount: number;
  readonly outputNames: Pinned;
  readonly outputValues: Pinned;
  readonly outputCount: number;
  /** Checks that every tensor is alive and takes the binding for one run; returns the function that gives it back. */
  begin(): () => void;
}

type Tensors = Readonly<Record<string, OrtTensor>>;

export function createNativeBinding(
  session: Pick<OrtSession, "inputs" | "outputs">,
  inputs: Tensors,
  outputs: Tensors,
): NativeBinding {
  checkBinding(session, inputs, outputs);
  const named = [...Object.entries(inputs), ...Object.entries(outputs)];
  const holds = named.map(([name, tensor]) => nativeTensor(tensor, name).value.hold());
  const values = (tensors: Tensors): Pinned =>
    pointerArray(Object.entries(tensors).map(([name, tensor]) => nativeTensor(tensor, name).value.pointer));
  let state: "idle" | "running" | "disposed" = "idle";
  let disposeAfterRun = false;
  const release = (): void => {
    state = "disposed";
    for (const letGo of holds) letGo();
  };
  return {
    owner: session,
    inputs,
    outputs,
    inputNames: stringArray(Object.keys(inputs)),
    inputValues: values(inputs),
    inputCount: Object.keys(inputs).length,
    outputNames: stringArray(Object.keys(outputs)),
    outputValues: values(outputs),
    outputCount: Object.keys(outputs).length,
    begin() {
      if (state === "disposed" || disposeAfterRun)
        throw new OarlockError("ORT_RELEASED", "the binding was released");
      if (state === "running")
        throw new OarlockError("ORT_BINDING_BUSY", "the binding is running; its outputs are being written");
      for (const [name, tensor] of named) checkAlive(tensor, name);
      state = "running";
      return () => {
        state = "idle";
        if (disposeAfterRun) release();
      };
    },
    dispose() {
      if (state === "running") disposeAfterRun = true;
      else if (state === "idle") release();
    },
  };
}
