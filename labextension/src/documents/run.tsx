import React, { useReducer, useState } from 'react';

import { isFinal, type Run, type RunJob } from '../api/types';
import { Age, Duration, ProblemBox, useAction } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { StateMark } from '../components/state';
import { runIcon } from '../icons';
import { ArtifactsPart } from './artifacts';
import { Graph, ordered } from './graph';
import { Head, Part } from './head';
import { Log } from './log';
import { Outputs } from './outputs';
import { Subject } from './subject';

/** A workflow run: its jobs, and the log of the one that matters. */
export function RunDocument(props: { workflow: string; number: number }): JSX.Element {
  const { store } = useServices();
  return (
    <Subject resource={store.run(props.workflow, props.number)}>{run => <RunView run={run} />}</Subject>
  );
}

function RunView(props: { run: Run }): JSX.Element {
  const { run } = props;
  const { execute } = useServices();
  const trans = useTrans();
  const [chosen, setChosen] = useState<string | null>(null);
  const [news, wrote] = useReducer((count: number) => count + 1, 0);
  const args = { workflow: run.workflow_id, number: run.number };
  const again = useAction(() => execute('nablahub:run-again', args));
  const cancel = useAction(() => execute('nablahub:cancel-run', args));
  const job = run.jobs.find(({ name }) => name === chosen) ?? whatMatters(run.jobs);
  const done = isFinal(run.state);
  const error = again.error ?? cancel.error;
  return (
    <>
      <Head
        target={{ kind: 'run', id: `${run.workflow_id}/${run.number}` }}
        icon={runIcon}
        name={trans.__('%1, run %2', run.workflow_name, run.number)}
        reference={`${run.workflow_name}/${run.number}`}
        state={<StateMark state={run.state} reason={run.reason} />}
        line={
          <>
            {trans.__('created')} <Age moment={run.created_at} />
            {run.started_at && (
              <>
                {' · '}
                {done ? trans.__('took') : trans.__('running for')}{' '}
                <Duration from={run.started_at} to={run.finished_at} />
              </>
            )}
          </>
        }
        actions={
          <>
            <button type="button" className="nbl-button" disabled={again.busy} onClick={() => again.run()}>
              {trans.__('Run again')}
            </button>
            {!done && (
              <button
                type="button"
                className="nbl-button nbl-mod-warn"
                disabled={cancel.busy}
                onClick={() => cancel.run()}
              >
                {cancel.busy ? trans.__('Cancelling…') : trans.__('Cancel')}
              </button>
            )}
          </>
        }
        cli={`nablahub workflows status ${run.workflow_id} ${run.number} --watch`}
        python={`import nablahub\n\nrun = nablahub.connect().workflows.run("${run.workflow_id}", ${run.number})`}
      />
      {error && <ProblemBox error={error} />}
      {run.message && (
        <div className={done && run.state !== 'Succeeded' ? 'nbl-problem' : 'nbl-note'} role="status">
          {run.message}
        </div>
      )}
      <div className="nbl-columns">
        <div>
          <Part title={trans.__('Jobs')}>
            <Graph jobs={run.jobs} chosen={job?.name ?? ''} choose={setChosen} />
          </Part>
          <Outputs title={trans.__('Inputs')} values={run.inputs} />
          <Outputs title={trans.__('Outputs')} values={run.outputs} />
        </div>
        {job && <JobPart job={job} run={run} wrote={wrote} />}
      </div>
      {job?.job_id && <ArtifactsPart key={job.job_id} job={{ ...job, job_id: job.job_id }} news={news} />}
    </>
  );
}

function JobPart(props: { job: RunJob; run: Run; wrote: () => void }): JSX.Element {
  const { job, run } = props;
  const { execute } = useServices();
  const trans = useTrans();
  const notebook = useAction((path: string) =>
    execute('nablahub:open-notebook', {
      path,
      name: `${run.workflow_name}-${run.number}-${job.name}.ipynb`
    })
  );
  const failed = isFinal(job.state) && job.state !== 'Succeeded';
  return (
    <Part
      title={trans.__('Log of %1', job.name)}
      aside={
        job.notebook && (
          <button
            type="button"
            className="nbl-button nbl-mod-small"
            disabled={notebook.busy}
            onClick={() => job.notebook && notebook.run(job.notebook)}
          >
            {trans.__('Open the executed notebook')}
          </button>
        )
      }
    >
      {notebook.error && <ProblemBox error={notebook.error} />}
      {job.message && (
        <div className={failed ? 'nbl-problem' : 'nbl-note'} role="status">
          {job.message}
        </div>
      )}
      {job.job_id ? (
        <Log job={job.job_id} key={job.job_id} wrote={props.wrote} />
      ) : (
        <p className="nbl-dim nbl-note">{nothingToRead(job, trans.__.bind(trans))}</p>
      )}
      <Outputs title={trans.__('Outputs of %1', job.name)} values={job.outputs} />
    </Part>
  );
}

function nothingToRead(job: RunJob, say: (text: string, ...values: string[]) => string): string {
  if (isFinal(job.state)) {
    return say('This step was done by NablaHub itself and has no log.');
  }
  return job.needs.length
    ? say('It waits for %1.', job.needs.join(', '))
    : say('It has not started yet.');
}

/** The job to look at first: running, else failed, else the last that has begun. */
function whatMatters(jobs: RunJob[]): RunJob | undefined {
  const order = ordered(jobs).map(({ job }) => job);
  const begun = order.filter(job => job.job_id);
  return (
    order.find(job => job.state === 'Running') ??
    order.find(job => job.state === 'Failed' || job.state === 'Error') ??
    begun[begun.length - 1] ??
    order[0]
  );
}
