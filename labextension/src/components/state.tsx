import React from 'react';

import type { State } from '../api/types';
import { useTrans } from './context';

const MARKS: Record<State, string> = {
  Pending: '◌',
  Provisioned: '◍',
  Running: '●',
  Succeeded: '✓',
  Failed: '✗',
  Error: '✗',
  Canceled: '■',
  Skipped: '–',
  Stopped: '■'
};

/** A state by shape, word and colour together. */
export function StateMark(props: { state: State; reason?: string | null; word?: boolean }): JSX.Element {
  const trans = useTrans();
  const { state, reason } = props;
  const why = reason && reason !== 'code' ? ` (${reason})` : '';
  return (
    <span className={`nbl-state nbl-mod-${state.toLowerCase()}`}>
      <span className="nbl-state-mark" aria-hidden="true">
        {MARKS[state] ?? '?'}
      </span>
      <span className="nbl-state-word">
        {trans.__(state)}
        {why}
      </span>
    </span>
  );
}
