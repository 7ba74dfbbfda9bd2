import { type ApiError, asApiError } from '../api/client';
import type { FileSource, TreeNode } from './source';

/** Items of a folder's first page: enough to fill any screen at once. */
const FIRST = 500;
/** Items of the pages after it: few requests for a folder of very many. */
const LATER = 5000;

/** What is known of one folder. */
interface Folder {
  items: TreeNode[];
  next: string | null;
  loading: boolean;
  error: ApiError | null;
}

/** One line of the tree. */
export interface TreeRow {
  kind: 'node' | 'more' | 'failed' | 'empty';
  /** A node's own path; else that of the folder that the line speaks of. */
  path: string;
  /** From 1. */
  level: number;
  node: TreeNode | null;
  open: boolean;
  error: ApiError | null;
}

/** A tree whose folders are read when they are opened, page after page. */
export class TreeModel {
  constructor(private _source: FileSource) {
    void this._load('');
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  };

  /** All lines that are unfolded. */
  readonly rows = (): TreeRow[] => this._rows;

  /** Whether anything has been read yet. */
  get known(): boolean {
    const top = this._folders.get('');
    return top !== undefined && (top.items.length > 0 || !top.loading);
  }

  /** Show another state of the same files; what is open stays open. */
  async replace(source: FileSource): Promise<void> {
    this._source = source;
    await Promise.all([...this._folders.keys()].map(path => this._load(path, true)));
  }

  toggle(path: string, open?: boolean): void {
    if (open ?? !this._open.has(path)) {
      this._open.add(path);
      if (!this._folders.has(path)) {
        void this._load(path);
      }
    } else {
      this._open.delete(path);
    }
    this._tell();
  }

  /** Read a folder's next page, unless that is under way. */
  more(path: string): Promise<void> {
    const folder = this._folders.get(path);
    return folder && !folder.loading ? this._load(path) : Promise.resolve();
  }

  /** Read on until the last line is known. */
  async toEnd(): Promise<void> {
    for (;;) {
      const last = this._rows[this._rows.length - 1];
      if (last?.kind !== 'more') {
        return;
      }
      await (this._pending.get(last.path) ?? this._load(last.path));
    }
  }

  private _load(path: string, afresh = false): Promise<void> {
    const loading = this._read(path, afresh).finally(() => this._pending.delete(path));
    this._pending.set(path, loading);
    return loading;
  }

  private async _read(path: string, afresh: boolean): Promise<void> {
    const before = this._folders.get(path) ?? { items: [], next: null, loading: false, error: null };
    this._folders.set(path, { ...before, loading: true, error: null });
    this._tell();
    try {
      const cursor = afresh ? null : before.next;
      const page = await this._source.list(path, cursor, cursor === null ? FIRST : LATER);
      const items = afresh ? page.items : before.items.concat(page.items);
      this._folders.set(path, { items, next: page.next, loading: false, error: null });
    } catch (thrown) {
      this._folders.set(path, { ...before, loading: false, error: asApiError(thrown) });
    }
    this._tell();
  }

  private _tell(): void {
    const rows: TreeRow[] = [];
    const add = (path: string, level: number): void => {
      const folder = this._folders.get(path);
      for (const node of folder?.items ?? []) {
        const open = node.folder && this._open.has(node.path);
        rows.push({ kind: 'node', path: node.path, level, node, open, error: null });
        if (open) {
          add(node.path, level + 1);
        }
      }
      const line = { path, level, node: null, open: false };
      if (folder?.error) {
        rows.push({ ...line, kind: 'failed', error: folder.error });
      } else if (!folder || folder.next !== null || folder.loading) {
        rows.push({ ...line, kind: 'more', error: null });
      } else if (!folder.items.length) {
        rows.push({ ...line, kind: 'empty', error: null });
      }
    };
    add('', 1);
    this._rows = rows;
    this._listeners.forEach(listener => listener());
  }

  private _folders = new Map<string, Folder>();
  private _listeners = new Set<() => void>();
  private _open = new Set<string>();
  private _pending = new Map<string, Promise<void>>();
  private _rows: TreeRow[] = [];
}
