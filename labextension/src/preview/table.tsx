import React from 'react';

import { useTrans } from '../components/context';

/** Rows as a table; columns stay readable, the box scrolls. */
export function Table(props: { columns: string[]; rows: string[][]; caption: string }): JSX.Element {
  const trans = useTrans();
  return (
    <>
      <div className="nbl-table" tabIndex={0} role="region" aria-label={trans.__('Rows')}>
        <table>
          <thead>
            <tr>
              {props.columns.map((name, index) => (
                <th key={index} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {props.rows.map((row, number) => (
              <tr key={number}>
                {props.columns.map((_, index) => (
                  <td key={index}>{row[index] ?? ''}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className="nbl-dim nbl-note">{props.caption}</p>
    </>
  );
}
