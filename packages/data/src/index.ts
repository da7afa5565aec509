/** Training data: built-in tasks and files of rows, as rows of one form. */
export type { ChatMessage, Dataset, LabelledText, Prompt, Row } from "./row.ts";
export { sideOf, TASK_NAMES, taskAlphabet, taskDataset } from "./tasks/index.ts";
export type { TaskName } from "./tasks/index.ts";
export type { TaskSettings, TaskSide } from "./tasks/task.ts";
export { openFileData, tableDataset, tablesDataset } from "./files/open-file-data.ts";
export type { FileDataSettings, OpenFileOptions, TablePart } from "./files/open-file-data.ts";
export type { ColumnNames } from "./files/conventions.ts";
export { chooseDataFiles } from "./hub/data-files.ts";
export type { DataSelection } from "./hub/data-files.ts";
export { formatOf, MAX_TABLE_BYTES } from "./files/table.ts";
export type { TableFormat } from "./files/table.ts";
