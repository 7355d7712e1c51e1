// Types of postoffice-client, as a browser loads it. Times are ms unless said otherwise.

/** The `since` of a log: `MS-N`, `MS` or `now`. */
export type Since = string;

export interface Options {
  /** `ws://` or `wss://`, with the path; the library adds the query. */
  url: string;
  /**
   * A token from the application. Called before a connect when the running token's end is near or not known, before that
   * end, and after the server has refused a token. What it throws is told as `error` and tried again; `null`, or the refused
   * token again, closes the client.
   */
  getToken?: () => string | null | Promise<string | null>;
  /** A token for ever, instead of `getToken`. */
  token?: string;
  /** The address that the client speaks for (`clientID`). Default: the token's. A storage that lasts needs it. */
  address?: string;
  /** Which device of the address. Default: made once, and kept; in a page each tab is one. `''` is a device too. */
  device?: string;
  /** Where a device without a cursor begins: `now`, or a seq; and the epoch of that seq. Default: with all that the mailbox has. */
  since?: Since;
  epoch?: string;
  /** Memory by default; `'indexeddb'` in a page; a folder's path in Node; or a storage of your own. */
  storage?: Storage | 'memory' | 'indexeddb' | (string & {});
  /** Acknowledge at the latest after so many handled messages (16), and after so many ms (200). */
  ackBatch?: number;
  ackDelay?: number;
  /** So many messages (1,000), or bytes of them (16 MiB), wait to be handled here; what comes meanwhile waits on the server. */
  maxWaiting?: number;
  maxWaitingBytes?: number;
  /** So many ids of handled messages are remembered (2,000; at least twice maxWaiting). */
  rememberIds?: number;
  /** What a failed handler means: `retry` (default: the message is handed out again after a back-off) or `skip`. */
  onHandlerError?: 'retry' | 'skip';
  /** Seconds of silence after which the library asks for a sign of life (15), and gives the link up when none comes (10). */
  heartbeat?: number;
  heartbeatTimeout?: number;
  /** So many messages (10,000) and bytes (16 MiB) may wait to be sent; past it send() fails. */
  outboxMessages?: number;
  outboxBytes?: number;
  /** So many unanswered messages are under way at most (32). */
  sendWindow?: number;
  /**
   * True (default): of messages that share a recipient the next leaves when the one before is answered, so a refusal for a
   * while changes no order. False: up to `sendWindow` messages leave at once; after such a refusal they may arrive in
   * another order.
   */
  ordered?: boolean;
  /** The pause before an attempt: a random one up to 1 s, doubled after each failure, up to 60 s. */
  minBackoff?: number;
  maxBackoff?: number;
  /** So long an attempt may take up to `welcome` (20 s). */
  connectTimeout?: number;
  /** So long close() waits for a running handler, and for the server (5 s each). */
  closeTimeout?: number;
  /** A WebSocket class. Default: the browser's; in Node the library's own. */
  WebSocket?: unknown;
  /** Headers of the request, where the WebSocket takes some (not in a browser). */
  headers?: Record<string, string>;
  /** TLS options of node:tls (`ca`, `cert`, `key`, `servername`…), where the WebSocket takes some (not in a browser). */
  tls?: Record<string, unknown>;
}

/** Content, as it is given to send(): text, JSON, or bytes. */
export interface Content {
  text?: string;
  json?: unknown;
  content?: Uint8Array | ArrayBuffer;
  /** The same as `content`. */
  bytes?: Uint8Array | ArrayBuffer;
  files?: File[];
}

export interface Fields {
  subject?: string;
  contentType?: number;
  charset?: string;
  level?: number;
  tags?: string[];
  attachments?: object[];
  references?: string;
  inReplyTo?: string;
  subjectId?: string;
  /** A Date, or Unix seconds. */
  expiresAt?: Date | number;
  receipt?: 2 | 3 | 'delivered' | 'read';
  /** The same `id` again is the same message. Default: a UUIDv7. */
  id?: string;
  from?: string;
  /** A token that proves `from` for this one message. */
  token?: string;
  /** Fields of the application, carried untouched. */
  [field: string]: unknown;
}

export interface Outgoing extends Content, Fields {
  to: string | string[];
  cc?: string | string[];
}

export interface File {
  name: string;
  type: string;
  bytes: Uint8Array;
}

export interface Refused {
  address: string;
  code: string;
}

export interface Accepted {
  id: string;
  /** 1: stored; 2: handed to a session, by a server that stores nothing. */
  state: number;
  /** Recipients that were not served. */
  refused: Refused[];
}

/** `state` 2 delivered, 3 read, 4 recalled, 5 expired. */
export interface Receipt {
  id: string;
  from: string;
  state: 2 | 3 | 4 | 5;
}

/** What send() returns: settles when the server has answered. Fails with RejectedError, ClosedError or OutboxFullError. */
export interface Sent extends Promise<Accepted> {
  readonly id: string;
  /**
   * Settles when the message lies in the storage: from then on it goes out, whatever happens to this process. Does not settle
   * when the message was refused before.
   */
  readonly stored: Promise<void>;
  readonly receipts: readonly Receipt[];
  /** Calls `listener` with each receipt, those that have come already included. */
  onReceipt(listener: (receipt: Receipt) => void): this;
}

/** A message that has come. Every field of the envelope is there too. */
export interface Message {
  readonly id: string;
  readonly from: string;
  readonly to: string[];
  readonly cc?: string[];
  readonly subject: string;
  readonly type: number;
  readonly content: string;
  readonly contentType?: number;
  readonly charset?: string;
  readonly level?: number;
  readonly tags?: string[];
  readonly attachments?: object[];
  readonly references?: string;
  readonly inReplyTo?: string;
  readonly subjectId?: string;
  readonly seq?: string;
  readonly log?: string;
  readonly state?: number;
  readonly createTime?: number;
  readonly expiresAt?: number;
  readonly receipt?: number;
  readonly fromTag?: string;
  readonly [field: string]: unknown;

  /** Undefined when `contentType` names no text. */
  readonly text: string | undefined;
  readonly bytes: Uint8Array;
  readonly files: File[];
  readonly sentAt: Date | undefined;
  readonly expires: Date | undefined;
  /** The group of a post; undefined for mail. */
  readonly group: string | undefined;
  /** Sent by the own address, from another device for instance. */
  readonly mine: boolean;

  json(): any;
  /** Answers the sender, or the group of a post. */
  reply(answer: Content & Fields): Sent;
  /** Tells the sender that the message was read. */
  markRead(): Sent;
  /**
   * Writes a record in the same transaction that remembers the message as handled, when the handler has returned: after a
   * crash the record is there if and only if the message does not come again. Undefined takes the record away.
   */
  keep(key: string, value: unknown): void;
}

export interface Welcome {
  session: string;
  node: string;
  worker: number;
  address: string;
  device: string;
  seq: string;
  cursor: string;
  epoch: string;
  recovered: boolean;
  service?: boolean;
  heartbeat: number;
  limits: { messageBytes: number; recipients: number; messagesPerSecond: number; burst: number; queueBytes: number };
}

export type State = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

export interface StateEvent {
  state: State;
  /** Of `waiting`: when the next attempt is due. */
  until?: Date;
  /** Of `waiting` and `closed`: why. */
  code?: number;
  reason?: string;
}

export interface Events {
  state: StateEvent;
  welcome: Welcome;
  /** All that had waited has come. `log` is a group, or null: the own mailbox. */
  replayed: { log: string | null; seq: string };
  /** Messages are missing: retention took them, or the server lost its data (`epochChanged`). */
  gap: { log: string | null; epochChanged: boolean };
  receipt: Receipt;
  /** The sender took back a message that may have been shown already. */
  recalled: { from: string; id: string };
  signal: Message;
  /** A message is handled, and its records are kept. */
  handled: Message;
  acked: { log: string | null; seq: string; cursor: string };
  /** The server has answered a message of the outbox, also one of an earlier page or process. */
  accepted: Accepted;
  rejected: { id: string; error: Error };
  /** A new token does not allow these groups any more. */
  unsubscribed: { groups: string[] };
  error: Error;
}

export type Handler = (message: Message) => unknown;

export declare class PostOffice {
  constructor(options: Options);

  readonly state: State;
  /** Undefined until it is known. */
  readonly address: string | undefined;
  readonly device: string | undefined;

  /** Settles at the first `welcome`; fails only with what no retry mends (ClosedError). */
  connect(): Promise<Welcome>;
  /** Connects at once when the client waits for its next attempt. */
  retry(): void;
  /** Waits for the running handler, acknowledges what is handled, ends for good. */
  close(): Promise<void>;

  /** Sends mail. Throws a TypeError at once for what is no message (no `to`, say). */
  send(message: Outgoing): Sent;
  /** Sends a post to groups. */
  post(message: Outgoing): Sent;
  /** True when the signal was handed to the socket; it is not kept and not answered. */
  signal(message: Outgoing): boolean;
  /** What waits to be sent or answered, the oldest first. */
  pending(): Message[];

  /**
   * Handlers of `message` are called one message at a time, in order, each message once; the message is acknowledged when
   * they have returned (or their promises have settled). Returns a function that takes the handler away.
   */
  on(name: 'message', handler: Handler): () => void;
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void;
  off(name: string, listener: (event: any) => unknown): void;
  /** A message counts as handled when the next one is asked for. */
  messages(): AsyncIterableIterator<Message>;

  /**
   * Handles requests, `concurrency` (1) at a time. What the handler returns is the answer: text, bytes, a message with
   * `text`, `json`, `content` or `files`, or anything else as JSON; nothing: no answer. The request is acknowledged when the
   * answer has been accepted.
   */
  serve(handler: (request: Message) => unknown, options?: { concurrency?: number }): void;
  /** Sends a message and waits for its answer; fails with TimeoutError (30 s). */
  request(message: Outgoing, options?: { timeout?: number }): Promise<Message>;

  /** The record that a handler has kept under the key. */
  kept(key: string): Promise<any>;
  /** All records under keys that begin so, sorted by key. */
  records(prefix?: string): Promise<Array<[string, any]>>;

  recall(id: string): Promise<{ recalled: string[]; notRecalled: Refused[] }>;
  /** Newest first, over all pages. */
  history(options?: { group?: string; subjectId?: string; before?: string; limit?: number }): AsyncGenerator<Message, void, undefined>;
  presence(addresses: string | string[]): Promise<Record<string, string[]>>;
  subscribe(groups: string | string[], options?: { since?: Since; epoch?: string }): Promise<Record<string, { seq: string; cursor: string; recovered: boolean }>>;
  unsubscribe(groups: string | string[]): Promise<void>;
}

export declare class RejectedError extends Error {
  readonly code: string;
  readonly field?: string;
  readonly refused: Refused[];
  readonly id?: string;
}

export declare class ClosedError extends Error {
  readonly code: number;
  readonly reason: string;
  /** Of a send: the storage keeps the message, and it goes out when the client comes back. */
  readonly kept?: boolean;
  readonly id?: string;
}

export declare class TimeoutError extends Error {
  readonly code: null;
  readonly id: string;
}

export declare class OutboxFullError extends Error {
  readonly code: 'outbox-full';
}

/** A change: the value is what JSON can carry; undefined deletes. */
export type Change = [key: string, value: unknown];

/** What keeps the outbox, the handled ids and the records. `write` is all or nothing, and lasts when its promise has settled. */
export interface Storage {
  /** False for memory alone. */
  readonly durable: boolean;
  open(): Promise<void>;
  /** All records under keys that begin so, sorted by key. */
  list(prefix: string): Promise<Array<[string, any]>>;
  write(changes: Change[]): Promise<void>;
  close(): Promise<void>;
}

export declare class MemoryStorage implements Storage {
  readonly durable: boolean;
  open(): Promise<void>;
  list(prefix: string): Promise<Array<[string, any]>>;
  write(changes: Change[]): Promise<void>;
  close(): Promise<void>;
}

/** The browser's IndexedDB. `name` is the database's. */
export declare class IndexedDBStorage implements Storage {
  constructor(name?: string);
  readonly durable: boolean;
  open(): Promise<void>;
  list(prefix: string): Promise<Array<[string, any]>>;
  write(changes: Change[]): Promise<void>;
  close(): Promise<void>;
}
