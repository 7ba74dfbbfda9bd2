import React, { useId, useMemo, useRef, useState } from 'react';

import type { Dataset, DatasetVersion } from '../../api/types';
import { useServices, useTrans } from '../../components/context';
import { FileBrowser } from '../../files/browser';
import { VersionSource } from '../../files/source';
import { DiffView } from './diff';
import { MountPart } from './mount';
import { Snippets } from './snippets';

type Version = Pick<DatasetVersion, 'version' | 'ref'>;
type Tab = 'files' | 'changes' | 'use';
const TABS: Tab[] = ['files', 'changes', 'use'];

/** One version: its files, what it changed, and how to use it. */
export function VersionPart(props: { dataset: Dataset; version: Version }): JSX.Element {
  const { dataset, version } = props;
  const { store } = useServices();
  const trans = useTrans();
  const [tab, setTab] = useState<Tab>('files');
  const list = useRef<HTMLDivElement>(null);
  const id = useId();
  const source = useMemo(
    () => new VersionSource(store.client, dataset.id, version.version),
    [store, dataset.id, version.version]
  );
  const names = { files: trans.__('Files'), changes: trans.__('Changes'), use: trans.__('Use it') };
  const keyed = (event: React.KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      const next = TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length]!;
      setTab(next);
      list.current?.querySelector<HTMLElement>(`[data-tab=${next}]`)?.focus();
    }
  };
  return (
    <section className="nbl-part" aria-label={trans.__('Version %1', version.version)}>
      <MountPart version={version} key={version.ref} />
      <div
        ref={list}
        className="nbl-tabs"
        role="tablist"
        aria-label={trans.__('Version %1', version.version)}
        onKeyDown={keyed}
      >
        {TABS.map(name => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`${id}-${name}`}
            data-tab={name}
            className="nbl-tab"
            aria-selected={name === tab}
            aria-controls={`${id}-panel`}
            tabIndex={name === tab ? 0 : -1}
            onClick={() => setTab(name)}
          >
            {names[name]}
          </button>
        ))}
      </div>
      <div id={`${id}-panel`} role="tabpanel" aria-labelledby={`${id}-${tab}`}>
        {tab === 'files' ? (
          <FileBrowser
            source={source}
            label={trans.__('Files of %1', version.version)}
            reference={path => `nabla://${version.ref}/${path}`}
          />
        ) : tab === 'changes' ? (
          <DiffView dataset={dataset.id} version={version.version} key={version.version} />
        ) : (
          <Snippets name={dataset.name} reference={version.ref} />
        )}
      </div>
    </section>
  );
}
