/** Training data: built-in tasks, files and hub data sets, as rows of one form. */
export type { ChatMessage, Dataset, LabelledText, Prompt, Row } from "./row.ts";
export { sideOf, TASK_NAMES, taskAlphabet, taskDataset } from "./tasks/index.ts";
export type { TaskName } from "./tasks/index.ts";
export type { TaskSettings, TaskSide } from "./tasks/task.ts";
export { openFileData, tableDataset } from "./files/open-file-data.ts";
export type { FileDataSettings, OpenFileOptions } from "./files/open-file-data.ts";
export type { ColumnNames } from "./files/conventions.ts";
export { formatOf } from "./files/table.ts";
export type { TableFormat } from "./files/table.ts";
