/** What people see while a model or data set is fetched and read, and what is strange about it. */
import type { LoadProgress } from "@oarlock/models";
import type { FactsOptions } from "../facts.ts";
import type { Terminal } from "../terminal.ts";

const MEBIBYTE = 1024 * 1024;
/** Where nobody watches a live line, a longer download is worth a line of its own. */
const LONG_BYTES = 16 * MEBIBYTE;

/** Tells a terminal: a line that lives, or a note for each long download where nobody watches. */
export function loadingLine(terminal: Terminal): (progress: LoadProgress) => void {
  const noted = new Set<string>();
  return (progress) => {
    terminal.live(loadingText(progress));
    const { what, file, totalBytes } = progress;
    if (terminal.interactive || what !== "download" || totalBytes < LONG_BYTES || noted.has(file)) return;
    noted.add(file);
    terminal.note(`downloading ${file}, ${Math.round(totalBytes / MEBIBYTE)} MiB`);
  };
}

/** Tells a terminal of all that is read for a plan, and what is strange about it. */
export function heardBy(terminal: Terminal): Required<Pick<FactsOptions, "onProgress" | "onWarning">> {
  return {
    onProgress: loadingLine(terminal),
    onWarning: (sentence) => terminal.note(terminal.style.bad(`warning: ${sentence}`)),
  };
}

function loadingText({ what, file, doneBytes, totalBytes }: LoadProgress): string {
  const percent = totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes);
  return `${what === "download" ? "downloading" : "reading"} ${file} ${percent} %`;
}
