import {
  type AsyncBuffer,
  cachedAsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import React from 'react';

import { Loading, ProblemBox } from '../components/basics';
import { useTrans } from '../components/context';
import type { FileSource } from '../files/source';
import { Table } from './table';
import { useLoaded } from './use-loaded';

const ROWS = 100;
/** Of compressed columns, in bytes: a look at some rows shall not fetch the whole file. */
const BUDGET = 32 * 1024 * 1024;

interface Rows {
  columns: string[];
  rows: string[][];
  /** Of the whole file. */
  total: number;
  width: number;
}

/** The first rows of a Parquet file, of which only the parts that hold them are fetched. */
export default function ParquetTable(props: { source: FileSource; path: string; size: number }): JSX.Element {
  const { source, path, size } = props;
  const trans = useTrans();
  const { value, error, again } = useLoaded(signal => read(source, path, size, signal), [source, path, size]);
  if (error) {
    return <ProblemBox error={error} retry={again} />;
  }
  if (!value) {
    return <Loading />;
  }
  const { columns, rows, total, width } = value;
  const tall =
    rows.length < total
      ? trans.__('The first %1 of %2 rows', rows.length, total)
      : trans._n('%1 row', '%1 rows', total);
  const wide =
    columns.length < width
      ? trans.__('the first %1 of %2 columns', columns.length, width)
      : trans._n('%1 column', '%1 columns', width);
  const caption = `${tall}, ${wide}`;
  return <Table columns={columns} rows={rows} caption={caption} />;
}

async function read(source: FileSource, path: string, size: number, signal: AbortSignal): Promise<Rows> {
  const remote: AsyncBuffer = {
    byteLength: size,
    slice: async (start, end = size) => (await source.read(path, start, end - start, signal)).bytes.buffer
  };
  const file = cachedAsyncBuffer(remote);
  const metadata = await parquetMetadataAsync(file);
  const total = Number(metadata.num_rows);
  const all = topColumns(metadata.schema);
  const columns = affordable(all, metadata);
  const rowEnd = Math.min(ROWS, total);
  const found = await parquetReadObjects({ file, metadata, compressors, columns, rowStart: 0, rowEnd });
  const rows = found.map(row => columns.map(name => told(row[name])));
  return { columns, rows, total, width: all.length };
}

/** The first columns, as many as may be fetched for a look; at least one. */
function affordable(names: string[], metadata: FileMetaData): string[] {
  const sizes = new Map<string, number>();
  for (const { meta_data: column } of metadata.row_groups[0]?.columns ?? []) {
    const name = column?.path_in_schema[0] ?? '';
    sizes.set(name, (sizes.get(name) ?? 0) + Number(column?.total_compressed_size ?? 0));
  }
  let left = BUDGET;
  return names.filter((name, index) => (left -= sizes.get(name) ?? 0) >= 0 || index === 0);
}

/** Names of the columns, of which a nested one counts once (a schema is a tree, depth first). */
function topColumns(schema: { name: string; num_children?: number }[]): string[] {
  const names: string[] = [];
  const skip = (at: number): number => {
    let next = at + 1;
    for (let child = schema[at]?.num_children ?? 0; child > 0; child--) {
      next = skip(next);
    }
    return next;
  };
  for (let at = 1; at < schema.length; at = skip(at)) {
    names.push(schema[at]!.name);
  }
  return names;
}

function told(value: unknown): string {
  if (value === null || value === undefined) {
    return '';
  }
  if (value instanceof Date) {
    return value.toISOString();
  }
  if (value instanceof Uint8Array) {
    return `${value.length} bytes`;
  }
  if (typeof value === 'object') {
    return JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner));
  }
  return String(value as string | number | bigint | boolean);
}
