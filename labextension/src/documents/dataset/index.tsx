import React, { useState } from 'react';

import type { Dataset, DatasetVersion } from '../../api/types';
import { useServices, useTrans } from '../../components/context';
import { bytes } from '../../format';
import { datasetIcon } from '../../icons';
import { Head } from '../head';
import { Subject } from '../subject';
import { LineagePart } from './lineage';
import { Timeline } from './timeline';
import { UploadButtons, UploadPart } from './upload';
import { useDrop } from './use-drop';
import { VersionPart } from './version';

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
  const upload = store.upload(dataset.id);
  const { over, handlers } = useDrop(items => upload.choose(items));
  const version = chosen ?? dataset.latest_version;
  const reference = version?.ref ?? dataset.id;
  const choose = (id: string): void => {
    const path = `datasets/${dataset.id}/versions/${id.slice(id.indexOf(':') + 1)}`;
    void store.client.get<DatasetVersion>(path).then(setChosen);
  };
  return (
    <div className={`nbl-dataset${over ? ' nbl-mod-over' : ''}`} {...handlers}>
      <Head
        target={{ kind: 'dataset', id: dataset.id }}
        icon={datasetIcon}
        name={dataset.name}
        reference={reference}
        line={version && `${trans._n('%1 file', '%1 files', version.files)}, ${bytes(version.bytes)}`}
        actions={<UploadButtons upload={upload} />}
        cli={`nablahub datasets get ${reference} ./${dataset.name}`}
        python={`import nablahub\n\nnablahub.connect().datasets.download("${reference}", "${dataset.name}")`}
      />
      {over && (
        <div className="nbl-drop-here" aria-hidden="true">
          {trans.__('Drop files or folders to put them into a new version')}
        </div>
      )}
      <UploadPart upload={upload} dataset={dataset} made={() => setChosen(null)} />
      <div className="nbl-dataset-columns">
        <div>
          <Timeline
            dataset={dataset.id}
            name={dataset.name}
            chosen={version?.version ?? null}
            choose={setChosen}
          />
          {version && <LineagePart dataset={dataset.id} version={version.version} choose={choose} />}
        </div>
        {version && <VersionPart dataset={dataset} version={version} />}
      </div>
    </div>
  );
}
