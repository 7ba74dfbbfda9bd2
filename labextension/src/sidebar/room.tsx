import React, { useId } from 'react';

import type { DiskUsage } from '../api/types';
import { Code } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { bytes } from '../format';
import { useFreshOnReturn, useResource } from '../resource';

/**
 * How much room the user's files take: of `/storage`, of the home, and of other teams' storage
 * once that is nearly full.
 */
export function Room(): JSX.Element | null {
  const { store } = useServices();
  const trans = useTrans();
  const resource = store.diskUsage();
  const { value } = useResource(resource);
  const { value: me } = useResource(store.whoami());
  // Whoever comes back to this page may have made room, or filled it.
  useFreshOnReturn(resource);
  const own = (usage: DiskUsage): boolean => usage.kind === 'home' || usage.name === me?.name;
  const shown = (value?.items ?? []).filter(
    usage => usage.measured_at && (own(usage) || usage.level !== 'ok')
  );
  if (!me || shown.length === 0) {
    return null;
  }
  return (
    <ul className="nbl-room" aria-label={trans.__('Room for files')}>
      {shown.map(usage => (
        <Folder key={`${usage.kind} ${usage.name}`} usage={usage} own={own(usage)} />
      ))}
    </ul>
  );
}

function Folder(props: { usage: DiskUsage; own: boolean }): JSX.Element {
  const { usage, own } = props;
  const trans = useTrans();
  const id = useId();
  const path = usage.kind === 'home' ? trans.__('Home') : '/storage';
  const name = own ? path : trans.__('/storage of %1', usage.name);
  const quota = usage.quota_bytes;
  const words = quota
    ? trans.__('%1 of %2', bytes(usage.bytes), bytes(quota))
    : bytes(usage.bytes);
  return (
    <li className={`nbl-room-folder nbl-mod-${usage.level}`}>
      <div className="nbl-room-line">
        <span id={id}>{name}</span>
        <span className="nbl-dim">{words}</span>
      </div>
      {quota && (
        <div
          className="nbl-room-bar"
          role="meter"
          aria-labelledby={id}
          aria-valuemin={0}
          aria-valuemax={quota}
          aria-valuenow={Math.min(usage.bytes, quota)}
          aria-valuetext={words}
        >
          <div style={{ width: `${Math.min(100, (100 * usage.bytes) / quota)}%` }} />
        </div>
      )}
      {usage.level !== 'ok' && <Warning usage={usage} name={name} />}
    </li>
  );
}

/** Drawn, not written, as marks of states are. */
function Mark(props: { over: boolean }): JSX.Element {
  return (
    <svg className="nbl-state-mark" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
      <path d={props.over ? 'm2.5 2.5 7 7m0-7-7 7' : 'M6 1.8 10.8 10H1.2zM6 5v2.2M6 8.6v.1'} />
    </svg>
  );
}

/** What it means, what is large, and how to see more. */
function Warning(props: { usage: DiskUsage; name: string }): JSX.Element {
  const { usage, name } = props;
  const trans = useTrans();
  const over = usage.level === 'over';
  const readOnly = over && usage.kind === 'storage';
  return (
    <div className="nbl-room-warning" role="status">
      <div>
        <Mark over={over} />
        {over ? trans.__('%1 is over its quota.', name) : trans.__('%1 is nearly full.', name)}{' '}
        {readOnly && trans.__('Jobs see it read-only until there is room.')}
      </div>
      {usage.largest.length > 0 && (
        <details>
          <summary>{trans.__('What is large')}</summary>
          <ul>
            {usage.largest.map(({ path, bytes: size }) => (
              <li key={path}>
                <code>{path}</code> <span className="nbl-dim">{bytes(size)}</span>
              </li>
            ))}
          </ul>
          <Code text="nablahub storage usage" label={trans.__('Copy as CLI')} />
        </details>
      )}
    </div>
  );
}
