import { refreshIcon } from '@jupyterlab/ui-components';
import React, { useEffect, useMemo, useRef } from 'react';

import { isFinal, type RunJob } from '../api/types';
import { Loading, ProblemBox } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { FileBrowser } from '../files/browser';
import { ArtifactSource } from '../files/source';
import { useResource } from '../resource';
import { Part } from './head';

interface Props {
  job: RunJob & { job_id: string };
  /** Grows with each line that the job writes: then it may have made files as well. */
  news: number;
}

/** In milliseconds; a job that writes much is not asked for its files at each line. */
const SELDOM = 3000;

/** What a job put into /artifacts, also while it runs. */
export function ArtifactsPart(props: Props): JSX.Element | null {
  const { job, news } = props;
  const { store } = useServices();
  const trans = useTrans();
  const resource = store.artifacts(job.job_id);
  const { value, error, loading } = useResource(resource);
  const source = useMemo(
    () => new ArtifactSource(store.client, job.job_id, value?.items ?? []),
    [store, job.job_id, value]
  );
  const final = isFinal(job.state);
  useEffect(() => {
    void resource.refresh();
  }, [resource, job.state]);
  const asked = useRef(0);
  useEffect(() => {
    if (final || !news) {
      return undefined;
    }
    const wait = Math.max(0, asked.current + SELDOM - Date.now());
    const timer = window.setTimeout(() => {
      asked.current = Date.now();
      void resource.refresh();
    }, wait);
    return () => window.clearTimeout(timer);
  }, [resource, final, news]);
  if (final && value?.items.length === 0) {
    return null;
  }
  const state = value?.items.map(({ path, size }) => `${path} ${size}`).join('\n') ?? '';
  const archive = store.client.address(`jobs/${job.job_id}/archive`);
  return (
    <Part
      title={trans.__('Artifacts of %1', job.name)}
      aside={
        <span className="nbl-buttons">
          {!final && (
            <button
              type="button"
              className="nbl-icon-button"
              title={trans.__('Look again')}
              aria-label={trans.__('Look again')}
              disabled={loading}
              onClick={() => void resource.refresh()}
            >
              <refreshIcon.react tag="span" width="14px" height="14px" />
            </button>
          )}
          {value && value.items.length > 0 && (
            <a className="nbl-button nbl-mod-small" href={archive} download={`${job.name}.zip`}>
              {trans.__('Download all')}
            </a>
          )}
        </span>
      }
    >
      {error && <ProblemBox error={error} retry={() => void resource.refresh()} />}
      {!value ? (
        !error && <Loading />
      ) : value.items.length === 0 ? (
        <p className="nbl-dim nbl-note">{trans.__('It has put nothing into /artifacts so far.')}</p>
      ) : (
        <FileBrowser source={source} state={state} label={trans.__('Artifacts of %1', job.name)} />
      )}
    </Part>
  );
}
