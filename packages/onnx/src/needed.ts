/** Which nodes a graph's outputs rest on: a builder may add more than is used in the end. */
import type { Graph, GraphNode, Value } from "./graph.ts";

/** The nodes that `results` (default: all outputs) need, in the graph's order. */
export function neededNodes(
  graph: Graph,
  results: readonly Value[] = graph.outputs.map(({ value }) => value),
): GraphNode[] {
  const needed = new Set<GraphNode>();
  const open = results.map((value) => value.producer);
  for (let node = open.pop(); open.length > 0 || node; node = open.pop()) {
    if (!node || needed.has(node)) continue;
    needed.add(node);
    for (const input of node.inputs) open.push(input?.producer);
  }
  return graph.nodes.filter((node) => needed.has(node));
}
