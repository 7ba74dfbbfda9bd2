import React from 'react';

import type { Deployment, Model } from '../api/types';
import { Age, CopyButton, ProblemBox, useAction } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { Rows } from '../components/rows';
import { bytes } from '../format';
import { modelIcon } from '../icons';
import { Head, Part } from './head';
import { targetOf } from './outputs';
import { Subject } from './subject';

/** A model: its versions. */
export function ModelDocument(props: { id: string }): JSX.Element {
  const { store } = useServices();
  return <Subject resource={store.model(props.id)}>{model => <ModelView model={model} />}</Subject>;
}

function ModelView(props: { model: Model }): JSX.Element {
  const { model } = props;
  const { store, open } = useServices();
  const trans = useTrans();
  const reference = model.latest_version?.ref ?? model.id;
  const deploy = useAction(async () => {
    const made = await store.client.post<Deployment>('deployments', {
      project_id: model.project_id,
      spec: { name: model.name, model: reference }
    });
    open({ kind: 'deployment', id: made.id });
  });
  return (
    <>
      <Head
        target={{ kind: 'model', id: model.id }}
        icon={modelIcon}
        name={model.name}
        reference={reference}
        line={model.latest_version?.format}
        actions={
          model.latest_version && (
            <button
              type="button"
              className="nbl-button nbl-mod-main"
              disabled={deploy.busy}
              onClick={() => deploy.run()}
            >
              {deploy.busy ? trans.__('Deploying…') : trans.__('Deploy')}
            </button>
          )
        }
        cli={`nablahub models show ${model.id}`}
        python={`import nablahub\n\nmodel = nablahub.connect().models.get("${model.id}")`}
      />
      {deploy.error && <ProblemBox error={deploy.error} />}
      <Part title={trans.__('Versions')}>
        <Rows
          resource={store.modelVersions(model.id)}
          label={trans.__('Versions')}
          text={version => version.version}
          row={version => (
            <li key={version.version} className="nbl-row">
              <span className="nbl-row-main">
                <span className="nbl-row-text">
                  <span className="nbl-row-name">{version.version}</span>
                  <span className="nbl-row-line nbl-dim">
                    {version.format} · {bytes(version.bytes)} · <Age moment={version.created_at} />
                    {version.source && ` · ${version.source}`}
                  </span>
                </span>
              </span>
              <button
                type="button"
                className="nbl-link"
                title={trans.__('Open the dataset that holds its files')}
                onClick={() => {
                  const files = targetOf(version.dataset_version);
                  if (files) {
                    open(files);
                  }
                }}
              >
                <code>{version.dataset_version}</code>
              </button>
              <CopyButton text={version.ref} label={trans.__('Copy the reference %1', version.ref)} />
            </li>
          )}
          empty={<p className="nbl-dim nbl-note">{trans.__('It has no version yet.')}</p>}
        />
      </Part>
    </>
  );
}
