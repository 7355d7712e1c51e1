// Types of postoffice-client, as Node loads it.

import { Change, Storage } from './index.js';

export * from './index.js';

/** A folder, which belongs to one process at a time. */
export declare class FileStorage implements Storage {
  constructor(folder: string);
  readonly durable: boolean;
  open(): Promise<void>;
  list(prefix: string): Promise<Array<[string, any]>>;
  write(changes: Change[]): Promise<void>;
  close(): Promise<void>;
}

/** A WebSocket with the face of a browser's; its third argument has `headers` and the TLS options of node:tls. */
export declare class NodeWebSocket {
  constructor(url: string, protocols?: string | string[], options?: Record<string, unknown>);
  readonly readyState: number;
  readonly protocol: string;
  readonly extensions: string;
  readonly bufferedAmount: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onpong: ((event: any) => void) | null;
  send(data: string | Uint8Array | ArrayBuffer): void;
  ping(): void;
  pause(): void;
  resume(): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
}
