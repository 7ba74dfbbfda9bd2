import { ApiError, type Client } from '../api/client';
import { Direct } from './direct';
import type { Item } from './items';
import { bytesOf, type Digest, grouped, Hasher, packHead, SMALL } from './objects';

/** In bytes; what is lost at most when the connection breaks. */
const PIECE = 8 * 1024 * 1024;
const BINARY = { 'Content-Type': 'application/octet-stream' };
/** In milliseconds, between tries while nobody answers. */
const SHORTEST = 500;
const LONGEST = 15_000;

/** What a sender tells whoever watches it. */
export interface Watcher {
  /** So many bytes more were read from the disk and hashed. */
  read(bytes: number): void;
  /** So many bytes more need not be sent, or have been. */
  sent(bytes: number): void;
  /** Whether the connection is broken at the moment. */
  waiting(waits: boolean): void;
}

/** A file and what the hub knows its bytes by. */
export type Hashed = Item & { digest: Digest };

/**
 * Sends the bytes of files into an upload.
 *
 * The hub is asked first, by hashes: what arrived in an earlier attempt, or is in the dataset
 * already, is not sent again. A broken connection is waited for.
 */
export class Sender {
  constructor(
    private readonly _client: Client,
    /** The upload's place in the API. */
    private readonly _path: string,
    direct: boolean,
    private readonly _signal: AbortSignal,
    private readonly _watcher: Watcher
  ) {
    this._direct = direct ? new Direct((path, body) => this._post(path, body), _path, _signal) : null;
  }

  /** Send what the hub lacks of some files. */
  async send(items: Item[]): Promise<Hashed[]> {
    this._hasher = await Hasher.make();
    const done: Hashed[] = [];
    for (const group of grouped(items.filter(({ file }) => file.size <= SMALL))) {
      const hashed = await this._hash(group);
      await this._pack(hashed);
      done.push(...hashed);
    }
    for (const item of items.filter(({ file }) => file.size > SMALL)) {
      const [hashed] = await this._hash([item]);
      await this._large(hashed!);
      done.push(hashed!);
    }
    return done;
  }

  /** Try until somebody answers; the answer may be a refusal. */
  async patiently<T>(work: () => Promise<T>): Promise<T> {
    for (let delay = SHORTEST; ; delay = Math.min(delay * 2, LONGEST)) {
      try {
        const value = await work();
        this._watcher.waiting(false);
        return value;
      } catch (error) {
        this._signal.throwIfAborted();
        if (!(error instanceof ApiError && error.passing) && !(error instanceof TypeError)) {
          throw error;
        }
      }
      this._watcher.waiting(true);
      await pause(delay, this._signal);
    }
  }

  private async _hash(items: Item[]): Promise<Hashed[]> {
    const hashed: Hashed[] = [];
    for (const item of items) {
      const read = (bytes: number): void => this._watcher.read(bytes);
      hashed.push({ ...item, digest: await this._hasher!.digest(item.file, this._signal, read) });
    }
    return hashed;
  }

  private async _missing(objects: Digest[]): Promise<Set<string>> {
    const answer = await this._post<{ missing: string[] }>(`${this._path}/missing`, { objects });
    return new Set(answer.missing);
  }

  private async _pack(hashed: Hashed[]): Promise<void> {
    const missing = await this._missing(hashed.map(({ digest }) => digest));
    const wanted = new Map<string, Hashed>();
    for (const item of hashed) {
      if (missing.has(item.digest.md5)) {
        wanted.set(item.digest.md5, item);
      }
    }
    const objects = [...wanted.values()];
    if (objects.length) {
      const head = packHead(objects.map(({ digest }) => digest));
      const name = this._hasher!.sha256(head);
      const bytes = await Promise.all(objects.map(({ file }) => bytesOf(file, 0, file.size)));
      const pack = new Blob([head, ...bytes]);
      const answer = await this._direct?.send({ kind: 'pack', name, sha256: '', size: pack.size }, pack);
      if (!answer) {
        await this._put(`${this._path}/packs/${name}`, pack);
      }
    }
    this._watcher.sent(hashed.reduce((sum, { digest }) => sum + digest.size, 0));
  }

  private async _large({ file, digest }: Hashed): Promise<void> {
    const { md5, sha256, size } = digest;
    const path = `${this._path}/objects/${md5}`;
    let reported = 0;
    const report = (arrived: number): void => {
      this._watcher.sent(arrived - reported);
      reported = arrived;
    };
    if ((await this._missing([digest])).has(md5)) {
      const direct = { kind: 'object' as const, name: md5, sha256, size };
      if (!(await this._direct?.send(direct, file, report))) {
        await this._pieces(path, file, digest, report);
      }
    }
    report(size);
  }

  /** Send what has not arrived of a large file, piece by piece. */
  private async _pieces(path: string, file: File, digest: Digest, report: (arrived: number) => void): Promise<void> {
    const { sha256, size } = digest;
    let arrived = await this._arrived(path, size);
    report(arrived);
    for (let complete = false; !complete; ) {
      const offset = arrived;
      // Read before it is sent: a file that is gone is no broken connection.
      const raw = new Blob([await bytesOf(file, offset, Math.min(offset + PIECE, size))]);
      try {
        const params = { sha256, size, offset };
        const options = { raw, params, headers: BINARY, signal: this._signal };
        const response = await this._client.send('PUT', path, options);
        ({ arrived, complete } = (await response.json()) as { arrived: number; complete: boolean });
        this._watcher.waiting(false);
      } catch (error) {
        this._signal.throwIfAborted();
        const known = error instanceof ApiError ? error : null;
        // The line was cut, or somebody else sends the same bytes: see how far it is by now.
        if (known && !known.passing && known.status !== 409) {
          throw error;
        }
        this._watcher.waiting(true);
        await pause(SHORTEST, this._signal);
        if (!(await this._missing([digest])).has(digest.md5)) {
          return;
        }
        arrived = await this._arrived(path, size);
      }
      report(arrived);
    }
  }

  private async _arrived(path: string, size: number): Promise<number> {
    const response = await this.patiently(() => this._client.send('HEAD', path, { signal: this._signal }));
    const arrived = Number(response.headers.get('X-Arrived') ?? 0);
    return arrived <= size ? arrived : 0;
  }

  private async _post<T>(path: string, body: unknown): Promise<T> {
    const response = await this.patiently(() => this._client.send('POST', path, { body, signal: this._signal }));
    return (await response.json()) as T;
  }

  private async _put(path: string, raw: Blob): Promise<void> {
    await this.patiently(() => this._client.send('PUT', path, { raw, headers: BINARY, signal: this._signal }));
  }

  private readonly _direct: Direct | null;
  private _hasher: Hasher | null = null;
}

function pause(delay: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = window.setTimeout(resolve, delay);
    signal.addEventListener('abort', () => {
      window.clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
