import type { Client } from '../api/client';
import type { Artifact, DatasetFile, FileNode, Page } from '../api/types';

/** A file or folder that a tree shows. */
export interface TreeNode {
  /** From the top folder on; names separated by slashes. */
  path: string;
  folder: boolean;
  /** In bytes; null for a folder. */
  size: number | null;
}

/** Some bytes of a file, and how many it has in all. */
export interface Piece {
  bytes: Uint8Array<ArrayBuffer>;
  size: number;
}

/** Where a tree and its previews get their files from. */
export interface FileSource {
  /** Changes whenever what a path names could have changed. */
  readonly key: string;
  /** One page of what lies in a folder; the empty path names the top folder. */
  list(folder: string, cursor: string | null, limit: number): Promise<Page<TreeNode>>;
  /** A page of the files whose path holds a text; it can be empty and yet have a `next`. */
  search(text: string, cursor: string | null, signal: AbortSignal): Promise<Page<TreeNode>>;
  /** Where the browser gets a file's bytes. */
  address(path: string, download?: boolean): string;
  /** Some bytes of a file, from `start` on. */
  read(path: string, start: number, length: number, signal?: AbortSignal): Promise<Piece>;
}

/** Write a path so that it can stand in a URL. */
export function encoded(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

/** The last name of a path. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

abstract class Source implements FileSource {
  constructor(
    protected readonly client: Client,
    readonly key: string,
    private readonly _files: string
  ) {}

  abstract list(folder: string, cursor: string | null, limit: number): Promise<Page<TreeNode>>;
  abstract search(text: string, cursor: string | null, signal: AbortSignal): Promise<Page<TreeNode>>;

  address(path: string, download = false): string {
    return this.client.address(`${this._files}/${encoded(path)}`) + (download ? '?download=true' : '');
  }

  async read(path: string, start: number, length: number, signal?: AbortSignal): Promise<Piece> {
    const response = await this.client.send('GET', `${this._files}/${encoded(path)}`, {
      // An empty file has no range at all.
      ...(length > 0 && { headers: { Range: `bytes=${start}-${start + length - 1}` } }),
      ...(signal && { signal })
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    const total = /\/(\d+)$/.exec(response.headers.get('Content-Range') ?? '')?.[1];
    return { bytes, size: total === undefined ? bytes.length : Number(total) };
  }
}

/** The files of one version of a dataset. */
export class VersionSource extends Source {
  constructor(client: Client, dataset: string, version: string) {
    const base = `datasets/${dataset}/versions/${version}`;
    super(client, base, `${base}/files`);
    this._base = base;
  }

  async list(folder: string, cursor: string | null, limit: number): Promise<Page<TreeNode>> {
    const page = await this.client.get<Page<FileNode>>(`${this._base}/tree`, {
      folder,
      limit,
      cursor: cursor ?? undefined
    });
    const items = page.items.map(({ path, kind, size }) => ({ path, size, folder: kind === 'folder' }));
    return { items, next: page.next };
  }

  async search(text: string, cursor: string | null, signal: AbortSignal): Promise<Page<TreeNode>> {
    const params = { contains: text, limit: 1000, cursor: cursor ?? undefined };
    const page = await this.client.get<Page<DatasetFile>>(`${this._base}/files`, params, signal);
    return { items: page.items.map(({ path, size }) => ({ path, size, folder: false })), next: page.next };
  }

  private readonly _base: string;
}

/** The artifacts of a job, as they were when they were listed. */
export class ArtifactSource extends Source {
  constructor(
    client: Client,
    job: string,
    private readonly _items: Artifact[]
  ) {
    super(client, `jobs/${job}`, `jobs/${job}/artifacts`);
  }

  list(folder: string): Promise<Page<TreeNode>> {
    const start = folder ? `${folder}/` : '';
    const found = new Map<string, TreeNode>();
    for (const { path, size } of this._items) {
      if (path.startsWith(start)) {
        const end = path.indexOf('/', start.length);
        const name = end < 0 ? path : path.slice(0, end);
        found.set(name, { path: name, folder: end >= 0, size: end < 0 ? size : null });
      }
    }
    return Promise.resolve({ items: [...found.values()], next: null });
  }

  search(text: string): Promise<Page<TreeNode>> {
    const wanted = text.toLowerCase();
    const items = this._items.filter(({ path }) => path.toLowerCase().includes(wanted));
    return Promise.resolve({ items: items.map(item => ({ ...item, folder: false })), next: null });
  }
}
