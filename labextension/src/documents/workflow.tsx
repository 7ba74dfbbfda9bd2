import React, { useId, useState } from 'react';

import { ProblemBox, useAction, Age } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { Row, Rows } from '../components/rows';
import { StateMark } from '../components/state';
import { duration } from '../format';
import { runIcon } from '../icons';
import { indent, ordered } from './graph';
import { Head, Part } from './head';
import { Subject } from './subject';
import type { Workflow } from '../api/types';

/** A workflow: its runs, newest first. */
export function WorkflowDocument(props: { id: string }): JSX.Element {
  const { store } = useServices();
  return (
    <Subject resource={store.workflow(props.id)}>
      {workflow => <WorkflowView workflow={workflow} />}
    </Subject>
  );
}

function WorkflowView(props: { workflow: Workflow }): JSX.Element {
  const { workflow } = props;
  const { execute } = useServices();
  const trans = useTrans();
  const form = useId();
  const [inputs, setInputs] = useState<Record<string, string>>({});
  const start = useAction(() =>
    execute('nablahub:start-run', { workflow: workflow.id, inputs: JSON.stringify(given(workflow, inputs)) })
  );
  return (
    <>
      <Head
        target={{ kind: 'workflow', id: workflow.id }}
        icon={runIcon}
        name={workflow.name}
        reference={workflow.id}
        line={
          <>
            {trans.__('changed')} <Age moment={workflow.updated_at} />
          </>
        }
        actions={
          // It belongs to the form below, so that Enter in a field presses it.
          <button
            type="submit"
            form={form}
            className="nbl-button nbl-mod-main"
            disabled={start.busy}
          >
            {start.busy ? trans.__('Starting…') : trans.__('Run')}
          </button>
        }
        cli={`nablahub workflows run ${workflow.id} --watch`}
        python={`import nablahub\n\nrun = nablahub.connect().workflows.start("${workflow.id}")`}
      />
      {start.error && <ProblemBox error={start.error} />}
      <div className="nbl-columns">
        <div>
          <form
            id={form}
            onSubmit={event => {
              event.preventDefault();
              start.run();
            }}
          >
            {workflow.inputs.length > 0 && (
              <Part title={trans.__('Inputs of the next run')}>
                <Inputs workflow={workflow} values={inputs} change={setInputs} />
              </Part>
            )}
          </form>
          <Part title={trans.__('Jobs')}>
            <Steps workflow={workflow} />
          </Part>
        </div>
        <Runs workflow={workflow} />
      </div>
      {workflow.source && (
        <Part title={trans.__('Spec')}>
          <pre className="nbl-log" tabIndex={0} aria-label={trans.__('Spec')}>
            {workflow.source}
          </pre>
        </Part>
      )}
    </>
  );
}

/** What the workflow asks for; an empty field means its default. */
function Inputs(props: {
  workflow: Workflow;
  values: Record<string, string>;
  change: (values: Record<string, string>) => void;
}): JSX.Element {
  const { workflow, values, change } = props;
  const trans = useTrans();
  const id = useId();
  return (
    <div className="nbl-form">
      {workflow.inputs.map(({ name, type, optional, default: preset }) => (
        <React.Fragment key={name}>
          <label htmlFor={`${id}${name}`}>
            {name} <span className="nbl-dim">{type}</span>
          </label>
          <input
            id={`${id}${name}`}
            className="nbl-input"
            value={values[name] ?? ''}
            required={preset === null && !optional}
            placeholder={preset ?? (optional ? trans.__('may be left out') : '')}
            onChange={event => change({ ...values, [name]: event.target.value })}
          />
        </React.Fragment>
      ))}
    </div>
  );
}

/** The workflow's jobs and what each needs. */
function Steps(props: { workflow: Workflow }): JSX.Element {
  const trans = useTrans();
  return (
    <ol className="nbl-rows" aria-label={trans.__('Jobs')}>
      {ordered(props.workflow.jobs).map(({ job, depth }) => (
        <li key={job.name} className="nbl-row" style={indent(depth)}>
          <span className="nbl-row-main">
            <span className="nbl-row-text">
              <span className="nbl-row-name">{job.name}</span>
              <span className="nbl-row-line nbl-dim">
                {job.action}
                {job.needs.length > 0 && ` · ${trans.__('needs %1', job.needs.join(', '))}`}
              </span>
            </span>
          </span>
        </li>
      ))}
    </ol>
  );
}

function Runs(props: { workflow: Workflow }): JSX.Element {
  const { workflow } = props;
  const { store } = useServices();
  const trans = useTrans();
  return (
    <Part title={trans.__('Runs')}>
      <Rows
        resource={store.workflowRuns(workflow.id)}
        label={trans.__('Runs')}
        text={run => String(run.number)}
        row={run => (
          <Row
            key={run.uuid}
            target={{ kind: 'run', id: `${run.workflow_id}/${run.number}` }}
            icon={runIcon}
            name={trans.__('Run %1', run.number)}
            line={
              <>
                <Age moment={run.created_at} />
                {run.finished_at && run.started_at
                  ? ` · ${trans.__('took')} ${duration(run.started_at, run.finished_at)}`
                  : ''}
              </>
            }
            state={<StateMark state={run.state} reason={run.reason} />}
          />
        )}
        empty={<p className="nbl-dim nbl-note">{trans.__('It has not been run yet.')}</p>}
      />
    </Part>
  );
}

/** Leave out the fields that were left empty; name data, spell out text. */
function given(workflow: Workflow, values: Record<string, string>): Record<string, object> {
  const filled = workflow.inputs.filter(({ name }) => values[name]);
  return Object.fromEntries(
    filled.map(({ name, type }) => {
      const value = values[name];
      return [name, type === 'string' ? { value } : { ref: value }];
    })
  );
}
