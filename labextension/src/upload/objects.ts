import { createMD5, createSHA256, type IHasher } from 'hash-wasm';

/** Objects up to this size in bytes travel together, in packs. */
export const SMALL = 1024 * 1024;
/** A pack is closed before its objects would exceed this, in bytes. */
const PACK_BYTES = 16 * 1024 * 1024;
const PACK_COUNT = 16_384;
/** Of a file, in bytes, that is hashed at once: short enough for the page to stay at hand. */
const CHUNK = 1024 * 1024;
const MAGIC = 'NABLPK1\n';

/** What the hub knows a file's bytes by; hashes in hexadecimal. */
export interface Digest {
  md5: string;
  sha256: string;
  size: number;
}

/** The file changed or went away while it was read. */
export class Unreadable extends Error {}

/** Hash files, one after the other. */
export class Hasher {
  static async make(): Promise<Hasher> {
    return new Hasher(await createMD5(), await createSHA256());
  }

  private constructor(
    private readonly _md5: IHasher,
    private readonly _sha256: IHasher
  ) {}

  /** Hash a file's bytes; `read` hears of each part's length. */
  async digest(file: File, signal: AbortSignal, read: (bytes: number) => void): Promise<Digest> {
    this._md5.init();
    this._sha256.init();
    for (let start = 0; start < file.size; start += CHUNK) {
      signal.throwIfAborted();
      const bytes = await bytesOf(file, start, start + CHUNK);
      this._md5.update(bytes);
      this._sha256.update(bytes);
      read(bytes.length);
    }
    return { md5: this._md5.digest(), sha256: this._sha256.digest(), size: file.size };
  }

  sha256(bytes: Uint8Array): string {
    return this._sha256.init().update(bytes).digest();
  }
}

/** Read a part of a file on the user's disk. */
export async function bytesOf(file: File, start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await file.slice(start, end).arrayBuffer());
  } catch {
    throw new Unreadable(`“${file.name}” cannot be read any more: it was changed, moved or deleted.`);
  }
}

/** Cut a row of things with sizes into groups that make a pack each. */
export function* grouped<T extends { file: File }>(items: T[]): Generator<T[]> {
  let group: T[] = [];
  let size = 0;
  for (const item of items) {
    if (group.length && (size + item.file.size > PACK_BYTES || group.length >= PACK_COUNT)) {
      yield group;
      group = [];
      size = 0;
    }
    group.push(item);
    size += item.file.size;
  }
  if (group.length) {
    yield group;
  }
}

/**
 * Write the bytes of a pack before its objects.
 *
 * Magic, count (8 bytes, little-endian like all numbers), all md5s, all sha256s, and of each object
 * where it ends, counted from the first byte after this.
 */
export function packHead(objects: Digest[]): Uint8Array<ArrayBuffer> {
  const count = objects.length;
  const head = new Uint8Array(16 + 56 * count);
  const view = new DataView(head.buffer);
  head.set(new TextEncoder().encode(MAGIC));
  view.setBigUint64(8, BigInt(count), true);
  let end = 0;
  objects.forEach(({ md5, sha256, size }, index) => {
    end += size;
    head.set(unhex(md5), 16 + 16 * index);
    head.set(unhex(sha256), 16 + 16 * count + 32 * index);
    view.setBigUint64(16 + 48 * count + 8 * index, BigInt(end), true);
  });
  return head;
}

function unhex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], pair => parseInt(pair, 16));
}
