/** A file that is to be put into a dataset. */
export interface Item {
  /** From the dataset's top folder on. */
  path: string;
  file: File;
}

/** Read what was dropped: files, and all files in folders. */
export async function dropped(data: DataTransfer): Promise<Item[]> {
  // Both must be taken at once: the list is emptied when the event is over.
  const items = [...data.items].map(item => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const found: Item[] = [];
  for (const { entry, file } of items) {
    if (entry) {
      await walk(entry, found);
    } else if (file) {
      found.push({ path: file.name, file });
    }
  }
  return found;
}

async function walk(entry: FileSystemEntry, found: Item[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject)
    );
    found.push({ path: entry.fullPath.replace(/^\//, ''), file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // Browsers tell at most a hundred at a time.
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) {
      return;
    }
    for (const inner of part) {
      await walk(inner, found);
    }
  }
}

/** Read what was chosen in a dialog for files or for a folder. */
export function picked(list: FileList): Item[] {
  return [...list].map(file => ({ path: file.webkitRelativePath || file.name, file }));
}

/** Put items into a folder of the dataset; a later one of the same path wins. */
export function placed(items: Item[], folder: string): Item[] {
  const start = folder.split('/').filter(Boolean).join('/');
  const known = new Map<string, Item>();
  for (const { path, file } of items) {
    const whole = start ? `${start}/${path}` : path;
    known.set(whole, { path: whole, file });
  }
  return [...known.values()];
}
