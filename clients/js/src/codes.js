// What a client does after a close code or an HTTP status (docs/protocol.md section 7).

export const RETRY = 'retry', NEW_TOKEN = 'token', FINAL = 'final', TOO_LARGE = 'too-large';

const VERDICTS = new Map([
  [4001, NEW_TOKEN], [4401, NEW_TOKEN], [1009, TOO_LARGE],
  ...[1002, 1003, 1007, 1008, 4400, 4403, 4404, 4500, 4501, 4502, 4503].map((code) => [code, FINAL]),
]);

export const verdictOf = (code) => VERDICTS.get(code) ?? RETRY;

const STATUSES = new Map([[401, 4401], [403, 4403], [404, 4404], ...[400, 405, 414, 417, 426, 431, 505].map((status) => [status, 4400])]);

/** The close code that means the same as the status; 1013 where coming back helps. */
export const codeOfStatus = (status) => STATUSES.get(status) ?? 1013;
