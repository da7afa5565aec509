/**
 * Finds a key that an object of a JSON text holds twice. `JSON.parse` keeps the last one in silence, and other readers
 * the first: a file on which readers disagree is refused.
 */

/** Expects text that `JSON.parse` accepts. Returns the first repeated key, `undefined` where there is none. */
export function duplicateKey(json: string): string | undefined {
  const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/gs;
  const open: Set<string>[] = [];
  for (const [token, colon] of json.matchAll(tokens)) {
    if (token === "{" || token === "[") open.push(new Set());
    else if (token === "}" || token === "]") open.pop();
    else if (colon !== undefined) {
      const key: unknown = JSON.parse(token.slice(0, -colon.length));
      const keys = open.at(-1);
      if (typeof key !== "string" || keys === undefined) continue;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}
