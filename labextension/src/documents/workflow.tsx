import React from 'react';

import { ProblemBox, useAction, Age } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { Row, Rows } from '../components/rows';
import { StateMark } from '../components/state';
import { duration } from '../format';
import { runIcon } from '../icons';
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
  const { store, execute } = useServices();
  const trans = useTrans();
  const start = useAction(() => execute('nablahub:start-run', { workflow: workflow.id }));
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
          <button
            type="button"
            className="nbl-button nbl-mod-main"
            disabled={start.busy}
            onClick={() => start.run()}
          >
            {start.busy ? trans.__('Starting…') : trans.__('Run')}
          </button>
        }
        cli={`nablahub workflows run ${workflow.id} --watch`}
        python={`import nablahub\n\nrun = nablahub.connect().workflows.start("${workflow.id}")`}
      />
      {start.error && <ProblemBox error={start.error} />}
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
    </>
  );
}
