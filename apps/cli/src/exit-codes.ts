/** What the exit codes of `oarlock` mean; the table is part of `oarlock --help`. */

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  refused: 3,
  different: 4,
  notYet: 5,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_CODES_HELP: string = `
Exit codes:
  0    done
  1    failed: the run or an operation broke off
  2    wrong command line
  3    refused: the run file, model or data is not usable as it is, or the plan walks into a trap
  4    reproduce: the run came out different
  5    something that is read or asked is not there yet, or not now: try again
  130  interrupted; \`oarlock resume DIR\` continues the run`;
