import React, { useState } from 'react';

import type { Dataset, DatasetVersion } from '../api/types';
import { Age, CopyButton } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { Rows } from '../components/rows';
import { bytes } from '../format';
import { datasetIcon } from '../icons';
import { Head, Part } from './head';
import { Subject } from './subject';

/** A dataset: its versions, and the files of the chosen one. */
export function DatasetDocument(props: { id: string }): JSX.Element {
  const { store } = useServices();
  return (
    <Subject resource={store.dataset(props.id)}>{dataset => <DatasetView dataset={dataset} />}</Subject>
  );
}

function DatasetView(props: { dataset: Dataset }): JSX.Element {
  const { dataset } = props;
  const { store } = useServices();
  const trans = useTrans();
  const [chosen, setChosen] = useState<DatasetVersion | null>(null);
  const version = chosen ?? dataset.latest_version;
  return (
    <>
      <Head
        target={{ kind: 'dataset', id: dataset.id }}
        icon={datasetIcon}
        name={dataset.name}
        reference={version?.ref ?? dataset.id}
        line={version && trans.__('%1 files, %2', version.files, bytes(version.bytes))}
        cli={`nablahub datasets get ${version?.ref ?? dataset.id} ./${dataset.name}`}
        python={`import nablahub\n\nnablahub.connect().datasets.download("${version?.ref ?? dataset.id}", "${dataset.name}")`}
      />
      <div className="nbl-columns">
        <Part title={trans.__('Versions')}>
          <Rows
            resource={store.datasetVersions(dataset.id)}
            label={trans.__('Versions')}
            text={item => `${item.version} ${item.message ?? ''}`}
            row={item => (
              <li
                key={item.version}
                className={`nbl-row${item.version === version?.version ? ' nbl-mod-chosen' : ''}`}
              >
                <button
                  type="button"
                  className="nbl-row-main"
                  aria-pressed={item.version === version?.version}
                  onClick={() => setChosen(item)}
                >
                  <span className="nbl-row-text">
                    <span className="nbl-row-name">{item.message || item.version}</span>
                    <span className="nbl-row-line nbl-dim">
                      {item.message ? `${item.version} · ` : ''}
                      {bytes(item.bytes)} · <Age moment={item.created_at} />
                    </span>
                  </span>
                </button>
                <CopyButton text={item.ref} label={trans.__('Copy the reference %1', item.ref)} />
              </li>
            )}
            empty={<p className="nbl-dim nbl-note">{trans.__('No version has been committed yet.')}</p>}
          />
        </Part>
        {version && (
          <Part title={trans.__('Files of %1', version.version)}>
            <Rows
              key={version.version}
              resource={store.datasetFiles(dataset.id, version.version)}
              label={trans.__('Files')}
              text={file => file.path}
              row={file => (
                <li key={file.path} className="nbl-row nbl-file">
                  <a
                    className="nbl-link nbl-row-name"
                    href={store.client.address(
                      `datasets/${dataset.id}/versions/${version.version}/files/${encoded(file.path)}?download=true`
                    )}
                    download={file.path.split('/').pop()}
                    title={trans.__('Download %1', file.path)}
                  >
                    {file.path}
                  </a>
                  <span className="nbl-dim">{bytes(file.size)}</span>
                </li>
              )}
              empty={<p className="nbl-dim nbl-note">{trans.__('This version holds no files.')}</p>}
            />
          </Part>
        )}
      </div>
    </>
  );
}

function encoded(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
