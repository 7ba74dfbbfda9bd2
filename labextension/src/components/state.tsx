import React from 'react';

import type { State } from '../api/types';
import { useTrans } from './context';

/** Drawn, not written: fonts that lack these shapes would show boxes. */
const MARKS: Record<State, JSX.Element> = {
  Pending: <circle cx="6" cy="6" r="4.2" strokeDasharray="1.9 2.5" />,
  Provisioned: <path d="M6 1.8a4.2 4.2 0 1 1 0 8.4 4.2 4.2 0 0 1 0-8.4zM6 4v4.2M3.9 6h4.2" />,
  Running: <circle cx="6" cy="6" r="4" fill="currentColor" />,
  Succeeded: <path d="M2 6.5 5 9.5l5-7" />,
  Failed: <path d="m2.5 2.5 7 7m0-7-7 7" />,
  Error: <path d="m2.5 2.5 7 7m0-7-7 7" />,
  Canceled: <rect x="2.5" y="2.5" width="7" height="7" fill="currentColor" />,
  Skipped: <path d="M2 6h8" />,
  Stopped: <rect x="2.5" y="2.5" width="7" height="7" fill="currentColor" />
};

/** A state by shape, word and colour together. */
export function StateMark(props: { state: State; reason?: string | null }): JSX.Element {
  const trans = useTrans();
  const { state, reason } = props;
  const why = reason && reason !== 'code' ? ` (${reason})` : '';
  return (
    <span className={`nbl-state nbl-mod-${state.toLowerCase()}`}>
      <svg className="nbl-state-mark" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
        {MARKS[state]}
      </svg>
      <span className="nbl-state-word">
        {trans.__(state)}
        {why}
      </span>
    </span>
  );
}
