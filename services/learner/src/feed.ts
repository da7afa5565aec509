/** The stream of metrics for people and consoles: a bounded past, and everything that comes. Knows no gRPC. */
import type { MetricsRecord } from "@oarlock/report";
import { createWakeup } from "@oarlock/runtime";

/** Records kept for late readers (Q1). */
const HISTORY = 4_096;

export interface FeedItem {
  /** From 1, without gaps. */
  readonly sequence: number;
  readonly record: MetricsRecord;
}

export interface MetricsFeed {
  push(record: MetricsRecord): void;
  /** Ends every reader once it has read all there is. */
  end(): void;
  /** Records after `sequence`, then new ones, until the feed ends or the signal aborts. */
  read(sequence: number, signal: AbortSignal): AsyncIterable<FeedItem>;
}

/** An empty feed. */
export function createFeed(): MetricsFeed {
  let items: FeedItem[] = [];
  let next = 1;
  let ended = false;
  const { wake, changed } = createWakeup();

  return {
    push(record) {
      items = [...items, { sequence: next++, record }].slice(-HISTORY);
      wake();
    },
    end() {
      ended = true;
      wake();
    },
    async *read(sequence, signal) {
      let at = sequence;
      while (!signal.aborted) {
        const fresh = items.filter((item) => item.sequence > at);
        for (const item of fresh) {
          at = item.sequence;
          yield item;
        }
        if (fresh.length > 0) continue;
        if (ended) return;
        await changed(signal);
      }
    },
  };
}
