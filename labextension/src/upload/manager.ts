import { type ApiError, ApiError as Refusal, asApiError, type Client } from '../api/client';
import type { DatasetVersion, Upload } from '../api/types';
import { type Item, placed } from './items';
import { Unreadable } from './objects';
import { type Hashed, Sender } from './sender';

/** Lines that are sent at once. */
const LINES = 2000;

export type UploadState = 'idle' | 'chosen' | 'sending' | 'committing' | 'clash' | 'failed' | 'done';

/** What a view knows of an upload; sizes in bytes. */
export interface UploadSnapshot {
  state: UploadState;
  items: Item[];
  folder: string;
  message: string;
  total: number;
  read: number;
  sent: number;
  /** Since when bytes are sent, in milliseconds of the clock. */
  since: number;
  waiting: boolean;
  error: ApiError | null;
  made: DatasetVersion | null;
  /** An upload that was cut off, maybe by a reload of the page. */
  unfinished: Remembered | null;
}

/** What the browser keeps of an upload over a reload. */
interface Remembered {
  upload: string;
  message: string;
  folder: string;
  files: number;
  bytes: number;
}

const NOTHING: UploadSnapshot = {
  state: 'idle',
  items: [],
  folder: '',
  message: '',
  total: 0,
  read: 0,
  sent: 0,
  since: 0,
  waiting: false,
  error: null,
  made: null,
  unfinished: null
};

/** The upload into one dataset; it goes on when its page is closed. */
export class DatasetUpload {
  constructor(
    private readonly _client: Client,
    private readonly _dataset: string
  ) {
    this._snapshot = { ...NOTHING, unfinished: this._recall() };
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  };

  readonly snapshot = (): UploadSnapshot => this._snapshot;

  get busy(): boolean {
    return this._snapshot.state === 'sending' || this._snapshot.state === 'committing';
  }

  /** Add files to what is going to be sent. */
  choose(items: Item[]): void {
    if (this.busy || !items.length) {
      return;
    }
    const { state, items: before, folder, message, unfinished } = this._snapshot;
    const fresh = state !== 'chosen';
    this._set({
      ...NOTHING,
      unfinished,
      state: 'chosen',
      items: fresh ? items : [...before, ...items],
      folder: fresh ? (unfinished?.folder ?? '') : folder,
      message: fresh ? (unfinished?.message ?? '') : message
    });
  }

  change(fields: Partial<Pick<UploadSnapshot, 'folder' | 'message'>>): void {
    this._set({ ...this._snapshot, ...fields });
  }

  /** Send everything and make a version of it. */
  async start(): Promise<void> {
    const items = placed(this._snapshot.items, this._snapshot.folder);
    const total = items.reduce((sum, { file }) => sum + file.size, 0);
    this._abort = new AbortController();
    this._set({ ...this._snapshot, state: 'sending', total, read: 0, sent: 0, since: Date.now(), error: null });
    window.addEventListener('beforeunload', stay);
    try {
      const upload = await this._begin(items.length, total);
      const sender = this._sender(upload);
      this._hashed = await sender.send(items);
      await this._commit(sender, upload);
    } catch (error) {
      this._failed(error);
    } finally {
      window.removeEventListener('beforeunload', stay);
    }
  }

  /** After a clash: put these files in place of those that others committed meanwhile. */
  async override(): Promise<void> {
    this._set({ ...this._snapshot, state: 'committing', error: null });
    this._abort = new AbortController();
    try {
      const before = this._recall();
      window.localStorage.removeItem(this._key);
      // A draft that begins now begins with what the others made; all bytes are there already.
      const upload = await this._begin(this._hashed.length, this._snapshot.total);
      await this._commit(this._sender(upload), upload);
      // Not before: what came with the first one would be deleted with it.
      await this._client.send('DELETE', this._path(before?.upload ?? ''));
    } catch (error) {
      this._failed(error);
    }
  }

  /** Stop, and let the hub throw away what has arrived. */
  async cancel(): Promise<void> {
    this._abort.abort();
    this._set(NOTHING);
    await this._forget().catch(() => undefined); // the hub forgets it by itself after some days
  }

  /** Done with looking at what was made, or at what went wrong. */
  dismiss(): void {
    this._set({ ...NOTHING, unfinished: this._recall() });
  }

  private _sender(upload: Upload): Sender {
    return new Sender(this._client, this._path(upload.version), upload.direct, this._abort.signal, {
      read: bytes => this._set({ ...this._snapshot, read: this._snapshot.read + bytes }),
      sent: bytes => bytes && this._set({ ...this._snapshot, sent: this._snapshot.sent + bytes }),
      waiting: waiting => waiting !== this._snapshot.waiting && this._set({ ...this._snapshot, waiting })
    });
  }

  /** Take the upload that was cut off, else a new one. */
  private async _begin(files: number, bytes: number): Promise<Upload> {
    const { message, folder } = this._snapshot;
    const known = this._recall();
    if (known && known.message === message) {
      try {
        return await this._client.get<Upload>(this._path(known.upload));
      } catch (error) {
        if (!(error instanceof Refusal && error.status === 404)) {
          throw error;
        }
      }
    }
    const path = `datasets/${this._dataset}/uploads`;
    const made = await this._client.post<Upload>(path, { message, source: 'upload' });
    const remembered: Remembered = { upload: made.version, message, folder, files, bytes };
    window.localStorage.setItem(this._key, JSON.stringify(remembered));
    return made;
  }

  private async _commit(sender: Sender, upload: Upload): Promise<void> {
    this._set({ ...this._snapshot, state: 'committing' });
    const path = this._path(upload.version);
    const lines = this._hashed.map(lineOf).sort((a, b) => compare(a.path, b.path));
    const headers = { 'Content-Type': 'text/plain; charset=utf-8' };
    for (let start = 0; start < lines.length; start += LINES) {
      const raw = lines.slice(start, start + LINES).map(({ line }) => line).join('');
      await sender.patiently(() => this._client.send('POST', `${path}/changes`, { raw, headers }));
    }
    const made = await sender.patiently(() => this._client.post<DatasetVersion>(`${path}/commit-changes`));
    window.localStorage.removeItem(this._key);
    this._hashed = [];
    this._set({ ...NOTHING, state: 'done', made });
  }

  private _failed(error: unknown): void {
    if (this._abort.signal.aborted) {
      return;
    }
    const told =
      error instanceof Unreadable
        ? new Refusal({ title: '', status: -1, code: 'unreadable', detail: error.message, hint: 'Choose it again.' })
        : asApiError(error);
    const state = told.problem.code === 'draft_clash' ? 'clash' : 'failed';
    this._set({ ...this._snapshot, state, error: told, waiting: false });
  }

  private async _forget(): Promise<void> {
    const known = this._recall();
    window.localStorage.removeItem(this._key);
    if (known) {
      await this._client.send('DELETE', this._path(known.upload));
    }
  }

  private _recall(): Remembered | null {
    const text = window.localStorage.getItem(this._key);
    return text ? (JSON.parse(text) as Remembered) : null;
  }

  private get _key(): string {
    return `nablahub:upload:${this._dataset}`;
  }

  private _path(upload: string): string {
    return `datasets/${this._dataset}/uploads/${upload}`;
  }

  private _set(snapshot: UploadSnapshot): void {
    this._snapshot = snapshot;
    this._listeners.forEach(listener => listener());
  }

  private _abort = new AbortController();
  private _hashed: Hashed[] = [];
  private _listeners = new Set<() => void>();
  private _snapshot: UploadSnapshot;
}

function lineOf({ path, digest }: Hashed): { path: Uint8Array; line: string } {
  const { md5, sha256, size } = digest;
  return { path: new TextEncoder().encode(path), line: `${md5} ${sha256} f ${size} ${path}\n` };
}

/** A manifest is sorted by the bytes of its paths. */
function compare(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) {
    if (a[at] !== b[at]) {
      return a[at]! - b[at]!;
    }
  }
  return a.length - b.length;
}

/** Ask before the page is left while files are on their way. */
function stay(event: BeforeUnloadEvent): void {
  event.preventDefault();
}
