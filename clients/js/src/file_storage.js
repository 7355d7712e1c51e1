// A storage in a folder, for Node: a journal of one line a write, JSON, each line whole or worth nothing.
//
// Writes that wait together are flushed together, so a burst costs one fsync. The journal is written anew when most of
// the journal is out of date. A folder belongs to one process at a time.

import { open, mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { platform } from './platform.js';

const COMPACT_BYTES = 1 << 20;

export class FileStorage {
  durable = true;
  #folder;
  #file;
  #records = new Map();
  #waiting = [];
  #writing = null;
  #bytes = 0;
  #liveBytes = 0;

  constructor(folder) {
    this.#folder = folder;
  }

  get #path() {
    return join(this.#folder, 'journal');
  }

  async open() {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const text = await readFile(this.#path, 'utf8').catch((error) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    for (const line of whole.split('\n')) if (line) this.#apply(JSON.parse(line));
    await this.#rewrite();
  }

  async list(prefix) {
    return [...this.#records].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
  }

  write(changes) {
    // The text is made at once: the caller may change a value afterwards.
    const line = JSON.stringify(changes.map(([key, value]) => (value === undefined ? [key] : [key, value]))) + '\n';
    return new Promise((resolve, reject) => {
      const lasting = changes.some(([, value]) => value !== undefined);
      this.#waiting.push({ line, lasting, resolve, reject });
      this.#writing ??= this.#drain();
    });
  }

  async close() {
    await this.#writing;
    await this.#file?.close();
    this.#file = null;
  }

  async #drain() {
    while (this.#waiting.length) {
      const batch = this.#waiting.splice(0);
      try {
        await this.#append(Buffer.from(batch.map(({ line }) => line).join('')), batch.some(({ lasting }) => lasting));
        for (const { line } of batch) this.#apply(JSON.parse(line));
        if (this.#bytes > COMPACT_BYTES && this.#bytes > 4 * this.#liveBytes) await this.#rewrite();
        batch.forEach(({ resolve }) => resolve());
      } catch (error) {
        batch.forEach(({ reject }) => reject(error));
      }
    }
    this.#writing = null; // at once with the last look: who writes in between would wait for ever
  }

  /** All of the bytes are in the file, or none: half a line would spoil the line behind. */
  async #append(bytes, lasting) {
    try {
      await this.#file.appendFile(bytes);
      if (lasting) await this.#file.datasync();
      this.#bytes += bytes.length;
    } catch (error) {
      await this.#file.truncate(this.#bytes);
      throw error;
    }
  }

  #apply(changes) {
    for (const [key, value] of changes) value === undefined ? this.#records.delete(key) : this.#records.set(key, value);
  }

  /** Writes what is true now into a new journal, which takes the old one's place in one step. */
  async #rewrite() {
    const bytes = Buffer.from([...this.#records].map((record) => JSON.stringify([record]) + '\n').join(''));
    const made = await open(this.#path + '.new', 'w', 0o600);
    await made.appendFile(bytes).then(() => made.sync()).finally(() => made.close());
    await rename(this.#path + '.new', this.#path);
    const folder = await open(this.#folder);
    await folder.sync().finally(() => folder.close());
    await this.#file?.close();
    this.#file = await open(this.#path, 'a');
    this.#bytes = this.#liveBytes = bytes.length;
  }
}

platform.storages.path = (folder) => new FileStorage(folder);
