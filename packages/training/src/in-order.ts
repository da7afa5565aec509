/** Calls of a worker thread start in order, and one ends before the next begins: what they work on has one user at a time. */
export type InOrder = <Q, R>(work: (request: Q) => R | Promise<R>) => (request: Q) => Promise<R>;

/** One order for all calls that go through it. */
export function createInOrder(): InOrder {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => (request) => {
    const result = last.then(() => work(request));
    last = result.catch(() => undefined);
    return result;
  };
}
