/**
 * `npm run trace -- TRACE_ID [--jaeger http://127.0.0.1:16686]`: one trace of a Jaeger as a tree: where each span sat in
 * time, how long it took, who did it, and what links where.
 */
const WIDTH = 24;

/** Attributes that the tree repeats. */
const SHOWN = new Set([
  "rl.train.step",
  "rl.group.id",
  "rl.policy.version",
  "rl.policy.staleness",
  "rl.reward",
  "rl.admission",
  "rl.loss",
  "rl.grad_norm",
  "rl.checkpoint.step",
  "gen_ai.usage.output_tokens",
  "gen_ai.evaluation.score.value",
]);
const SHOWN_OF_LINKS = new Set(["rl.link", "rl.stage.name", "rl.train.step", "rl.group.id", "rl.reward"]);

interface Value {
  readonly stringValue?: string;
  readonly intValue?: string;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
}
type Attributes = readonly { readonly key: string; readonly value: Value }[];
interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: Attributes;
  readonly links?: readonly { readonly traceId: string; readonly attributes?: Attributes }[];
  readonly service: string;
}
interface Answer {
  readonly result?: {
    readonly resourceSpans?: readonly {
      readonly resource?: { readonly attributes?: Attributes };
      readonly scopeSpans?: readonly { readonly spans?: readonly Omit<Span, "service">[] }[];
    }[];
  };
}

const [traceId = "", ...rest] = process.argv.slice(2);
const at = rest.indexOf("--jaeger");
const jaeger = at < 0 ? "http://127.0.0.1:16686" : (rest[at + 1] ?? "");
const response = await fetch(`${jaeger}/api/v3/traces/${traceId}`);
if (!response.ok)
  throw new Error(`${jaeger} answers ${response.status} for trace ${JSON.stringify(traceId)}`);
const spans = spansOf((await response.json()) as Answer);
const [beginMs, endMs] = [Math.min(...spans.map(startOf)), Math.max(...spans.map(endOf))];
console.log(`trace ${traceId}: ${spans.length} spans, ${(endMs - beginMs).toFixed(1)} ms`);
for (const line of tree("", 0)) console.log(line);

function spansOf({ result }: Answer): Span[] {
  return (result?.resourceSpans ?? []).flatMap(({ resource, scopeSpans = [] }) => {
    const service = said(resource?.attributes, "service.instance.id");
    return scopeSpans.flatMap((scope) => (scope.spans ?? []).map((span) => ({ ...span, service })));
  });
}

function tree(parent: string, depth: number): string[] {
  return spans
    .filter(({ parentSpanId = "" }) => parentSpanId === parent)
    .toSorted((a, b) => startOf(a) - startOf(b))
    .flatMap((span) => [...render(span, depth), ...tree(span.spanId, depth + 1)]);
}

function render(span: Span, depth: number): string[] {
  const indent = "  ".repeat(depth);
  const ms = endOf(span) - startOf(span);
  const head = `${indent}${span.name.replace("oarlock.{run}.", "")}`.padEnd(40);
  const notes = (span.attributes ?? []).filter(({ key }) => SHOWN.has(key)).map(text);
  const line =
    `${bar(span)} ${ms.toFixed(1).padStart(8)} ms  ${span.service.padEnd(9)} ${head}${notes.join(" ")}`.trimEnd();
  // A step has a link for each of its groups: a few say enough. Links to the sender of a message lie inside the trace.
  const others = (span.links ?? []).filter((link) => link.traceId !== span.traceId);
  const links = others.slice(0, 4).map((link) => {
    const about = (link.attributes ?? []).filter(({ key }) => SHOWN_OF_LINKS.has(key)).map(text);
    return `${" ".repeat(WIDTH + 23)}${indent}  ↔ ${link.traceId} ${about.join(" ")}`;
  });
  const more =
    others.length > links.length ? [`${" ".repeat(WIDTH + 23)}${indent}  ↔ … ${others.length} in all`] : [];
  return [line, ...links, ...more];
}

function bar(span: Span): string {
  const scale = (WIDTH - 1) / Math.max(endMs - beginMs, 1e-6);
  const from = Math.round((startOf(span) - beginMs) * scale);
  const to = Math.max(from, Math.round((endOf(span) - beginMs) * scale));
  return `${" ".repeat(from)}${"█".repeat(to - from + 1)}`.padEnd(WIDTH);
}

function startOf({ startTimeUnixNano }: Pick<Span, "startTimeUnixNano">): number {
  return Number(BigInt(startTimeUnixNano) / 1000n) / 1000;
}

function endOf({ endTimeUnixNano }: Pick<Span, "endTimeUnixNano">): number {
  return Number(BigInt(endTimeUnixNano) / 1000n) / 1000;
}

function said(attributes: Attributes | undefined, key: string): string {
  const value = attributes?.find((attribute) => attribute.key === key)?.value;
  return plain(value ?? {});
}

function plain({ stringValue, intValue, doubleValue, boolValue }: Value): string {
  if (doubleValue !== undefined) return String(Number(doubleValue.toPrecision(4)));
  return String(stringValue ?? intValue ?? boolValue ?? "");
}

function text({ key, value }: Attributes[number]): string {
  return `${key.replace(/^(rl|gen_ai)\./, "")}=${plain(value)}`;
}
