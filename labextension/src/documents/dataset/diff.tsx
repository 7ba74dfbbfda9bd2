import React, { lazy, Suspense, useEffect, useId, useState } from 'react';

import type { DatasetVersion, FileChange, Page } from '../../api/types';
import { type ApiError, asApiError } from '../../api/client';
import { Loading, ProblemBox } from '../../components/basics';
import { useServices, useTrans } from '../../components/context';
import { boxHeight, useWindow } from '../../files/window';
import { bytes } from '../../format';
import { useResource } from '../../resource';

// The library that compares texts comes when the first pair is looked at.
const TextDiff = lazy(() => import('./text-diff'));
const HEIGHT = 24;
const PAGE = 1000;

/** What differs between two versions: this one, and the one before it or another that is chosen. */
export function DiffView(props: { dataset: string; version: string }): JSX.Element {
  const { dataset, version } = props;
  const { store } = useServices();
  const trans = useTrans();
  const id = useId();
  const known = useResource(store.datasetVersions(dataset)).value?.items ?? [];
  const { value: lineage } = useResource(store.lineage(dataset, version));
  const [other, setOther] = useState<string | null>(null);
  const parent = lineage?.parent?.split(':')[1];
  const old = other ?? parent ?? null;
  const choices = known.filter(item => item.version !== version);
  if (!lineage) {
    return <Loading />;
  }
  if (parent && !choices.some(item => item.version === parent)) {
    choices.push({ version: parent, message: '', number: 0 } as DatasetVersion);
  }
  return (
    <div className="nbl-diff">
      <label htmlFor={id}>{trans.__('Changes of %1 since', version)}</label>{' '}
      <select id={id} className="nbl-input" value={old ?? ''} onChange={event => setOther(event.target.value)}>
        {old === null && <option value="">{trans.__('(nothing: it is the first version)')}</option>}
        {choices.map(item => (
          <option key={item.version} value={item.version}>
            {[item.version, item.number ? `#${item.number}` : '', item.message].filter(Boolean).join(' ')}
          </option>
        ))}
      </select>
      {old !== null && <Changes key={`${old} ${version}`} dataset={dataset} old={old} version={version} />}
    </div>
  );
}

function Changes(props: { dataset: string; old: string; version: string }): JSX.Element {
  const { dataset, old, version } = props;
  const { store } = useServices();
  const trans = useTrans();
  const [items, setItems] = useState<FileChange[]>([]);
  const [next, setNext] = useState<string | null | undefined>(undefined);
  const [error, setError] = useState<ApiError | null>(null);
  const [chosen, setChosen] = useState<FileChange | null>(null);
  const [box, setBox] = useState<HTMLDivElement | null>(null);
  const { first, end } = useWindow(box, items.length, HEIGHT);
  const [wanted, setWanted] = useState<string | null>('');

  useEffect(() => {
    if (wanted === null) {
      return undefined;
    }
    const abort = new AbortController();
    const params = { to: version, limit: PAGE, cursor: wanted || undefined };
    store.client
      .get<Page<FileChange>>(`datasets/${dataset}/versions/${old}/diff`, params, abort.signal)
      .then(page => {
        setItems(before => [...before, ...page.items]);
        setNext(page.next);
        setError(null);
      })
      .catch((thrown: unknown) => abort.signal.aborted || setError(asApiError(thrown)));
    return () => abort.abort();
  }, [store, dataset, old, version, wanted]);
  useEffect(() => {
    if (next && end > items.length - PAGE / 4) {
      setWanted(next);
    }
  }, [next, end, items.length]);

  const count = (change: string): number => items.filter(item => item.change === change).length;
  if (next === undefined && !error) {
    return <Loading />;
  }
  return (
    <>
      {error && <ProblemBox error={error} />}
      <p className="nbl-note" role="status">
        {items.length === 0 && !error
          ? trans.__('Both have the same files.')
          : trans.__('%1 added, %2 removed, %3 changed', count('added'), count('removed'), count('changed'))}
        {next ? ` ${trans.__('(among the first %1)', items.length)}` : ''}
      </p>
      {items.length > 0 && (
        <div
          ref={setBox}
          className="nbl-tree"
          style={{ height: boxHeight(items.length, HEIGHT, 264) }}
          tabIndex={0}
          role="region"
          aria-label={trans.__('Changed files')}
        >
          <div style={{ height: items.length * HEIGHT }}>
            <ul
              className="nbl-found"
              aria-label={trans.__('Changed files')}
              style={{ transform: `translateY(${first * HEIGHT}px)` }}
            >
              {items.slice(first, end).map(item => (
                <li key={item.path}>
                  <ChangeRow item={item} chosen={item === chosen} choose={() => setChosen(item)} />
                </li>
              ))}
            </ul>
          </div>
        </div>
      )}
      {chosen && (
        <Suspense fallback={<Loading />}>
          <TextDiff key={chosen.path} dataset={dataset} old={old} version={version} change={chosen} />
        </Suspense>
      )}
    </>
  );
}

const MARKS: Record<string, string> = { added: '+', removed: '−', changed: '~' };

function ChangeRow(props: { item: FileChange; chosen: boolean; choose: () => void }): JSX.Element {
  const { item, chosen } = props;
  const trans = useTrans();
  const words = { added: trans.__('added'), removed: trans.__('removed'), changed: trans.__('changed') };
  const word = words[item.change as keyof typeof words] ?? item.change;
  const sizes =
    item.change === 'changed'
      ? `${bytes(item.old_size ?? 0)} → ${bytes(item.size ?? 0)}`
      : bytes((item.change === 'removed' ? item.old_size : item.size) ?? 0);
  return (
    <button type="button" className="nbl-tree-row" aria-pressed={chosen} title={item.path} onClick={props.choose}>
      <span className={`nbl-change nbl-mod-${item.change}`}>
        <span aria-hidden="true">{MARKS[item.change]}</span> {word}
      </span>
      <span className="nbl-tree-name">{item.path}</span>
      <span className="nbl-dim">{sizes}</span>
    </button>
  );
}
