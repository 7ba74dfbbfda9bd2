import { Time } from '@jupyterlab/coreutils';

/** Write a number of bytes as people read it, in powers of 1024. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** Write the time between two moments, or until now, as `1 h 02 min`. */
export function duration(from: string, to: string | null): string {
  const end = to ? Date.parse(to) : Date.now();
  const seconds = Math.max(0, (end - Date.parse(from)) / 1000);
  if (seconds < 10) {
    return `${seconds.toFixed(1)} s`;
  }
  if (seconds < 60) {
    return `${Math.round(seconds)} s`;
  }
  const minutes = Math.floor(seconds / 60);
  const two = (value: number): string => String(value).padStart(2, '0');
  return minutes < 60
    ? `${minutes} min ${two(Math.floor(seconds % 60))} s`
    : `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** Write a moment as an age, `3 minutes ago`. */
export function age(moment: string): string {
  return Time.formatHuman(moment);
}

/** Write a moment exactly, in the user's own time. */
export function exact(moment: string): string {
  return new Date(moment).toLocaleString(undefined, { dateStyle: 'full', timeStyle: 'long' });
}

/** Write JSON with two spaces, but lists of plain values on one line: tensors stay readable. */
export function pretty(value: unknown, indent = ''): string {
  if (value === null || typeof value !== 'object') {
    return JSON.stringify(value) ?? 'null';
  }
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const plain = value.every(item => item === null || typeof item !== 'object');
    return plain
      ? `[${value.map(item => JSON.stringify(item)).join(', ')}]`
      : `[\n${value.map(item => inner + pretty(item, inner)).join(',\n')}\n${indent}]`;
  }
  const fields = Object.entries(value as Record<string, unknown>);
  if (!fields.length) {
    return '{}';
  }
  const lines = fields.map(([name, field]) => `${inner}${JSON.stringify(name)}: ${pretty(field, inner)}`);
  return `{\n${lines.join(',\n')}\n${indent}}`;
}
