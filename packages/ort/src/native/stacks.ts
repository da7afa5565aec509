/**
 * Sizes of the stacks that koffi runs native calls on. Set before the first call, hence a module of its own that
 * `library.ts` imports first.
 *
 * ONNX Runtime walks graphs recursively and puts shapes and name lists on the stack: koffi's 128 KiB for asynchronous
 * calls end in a crash without a message once a graph has thousands of nodes (or on WebGPU at once). At most 16 MiB are
 * allowed; the price is paid per resident or queued call, and the gate keeps those few.
 */
import koffi from "koffi";

const MiB = 1 << 20;

koffi.config({
  sync_stack_size: 8 * MiB,
  async_stack_size: 8 * MiB,
  async_heap_size: MiB,
  resident_async_pools: 2,
});

export { koffi };
