import Papa from 'papaparse';
import React, { useMemo } from 'react';

import { useTrans } from '../components/context';
import type { Piece } from '../files/source';
import { Table } from './table';
import { decoded } from './text';

const ROWS = 100;

/** The first rows of a file of separated values; the separator is found out. */
export default function CsvTable(props: { start: Piece }): JSX.Element {
  const { start } = props;
  const trans = useTrans();
  const { columns, rows, whole } = useMemo(() => parsed(start), [start]);
  const caption = whole
    ? trans._n('%1 row', '%1 rows', rows.length)
    : trans.__('The first %1 rows', rows.length);
  return <Table columns={columns} rows={rows} caption={caption} />;
}

function parsed(start: Piece): { columns: string[]; rows: string[][]; whole: boolean } {
  const whole = start.bytes.length === start.size;
  const { data, meta } = Papa.parse<string[]>(decoded([start.bytes]).replace(/^\uFEFF/, ''), {
    preview: ROWS + 2,
    skipEmptyLines: true
  });
  const cut = meta.truncated || data.length > ROWS + 1;
  if (!whole && !cut) {
    data.pop(); // the piece that was read ends in the midst of it
  }
  const [columns = [], ...rows] = data.slice(0, ROWS + 1);
  return { columns, rows, whole: whole && !cut };
}
