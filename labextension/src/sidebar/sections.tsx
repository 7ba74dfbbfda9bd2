import { runIcon as playIcon } from '@jupyterlab/ui-components';
import React from 'react';

import type { Run, Workflow } from '../api/types';
import { Age, ProblemBox, useAction } from '../components/basics';
import { useProject, useServices, useTrans } from '../components/context';
import { Empty } from '../components/empty';
import { Row, Rows } from '../components/rows';
import { StateMark } from '../components/state';
import { bytes } from '../format';
import { datasetIcon, deploymentIcon, modelIcon, runIcon } from '../icons';
import { useResource } from '../resource';
import { newExample } from '../example';

/** How many of a workflow's newest runs the sidebar shows; its document shows all. */
const RUNS_SHOWN = 3;

export function Workflows(): JSX.Element {
  const { store } = useServices();
  const trans = useTrans();
  const project = useProject();
  const runs = useResource(store.runs(project)).value?.items ?? [];
  return (
    <Rows
      resource={store.workflows(project)}
      label={trans.__('Workflows')}
      text={workflow => workflow.name}
      row={workflow => (
        <WorkflowRows
          key={workflow.id}
          workflow={workflow}
          runs={runs.filter(run => run.workflow_id === workflow.id).slice(0, RUNS_SHOWN)}
        />
      )}
      empty={<NoWorkflow project={project} />}
    />
  );
}

function WorkflowRows(props: { workflow: Workflow; runs: Run[] }): JSX.Element {
  const { execute } = useServices();
  const trans = useTrans();
  const { workflow, runs } = props;
  const start = useAction(() => execute('nablahub:start-run', { workflow: workflow.id }));
  const latest = runs[0];
  return (
    <>
      <Row
        target={{ kind: 'workflow', id: workflow.id }}
        icon={runIcon}
        name={workflow.name}
        line={
          latest ? (
            <>
              {trans.__('last run')} <Age moment={latest.created_at} />
            </>
          ) : (
            trans.__('never run')
          )
        }
        action={
          <button
            type="button"
            className="nbl-icon-button"
            title={trans.__('Run %1', workflow.name)}
            aria-label={trans.__('Run %1', workflow.name)}
            disabled={start.busy}
            onClick={() => start.run()}
          >
            <playIcon.react tag="span" width="16px" height="16px" />
          </button>
        }
      />
      {start.error && (
        <li>
          <ProblemBox error={start.error} retry={() => start.run()} />
        </li>
      )}
      {runs.map(run => (
        <Row
          key={run.uuid}
          nested
          target={{ kind: 'run', id: `${run.workflow_id}/${run.number}` }}
          icon={runIcon}
          name={trans.__('Run %1', run.number)}
          line={<Age moment={run.created_at} />}
          state={<StateMark state={run.state} reason={run.reason} />}
        />
      ))}
    </>
  );
}

function NoWorkflow(props: { project: string }): JSX.Element {
  const { store, open } = useServices();
  const trans = useTrans();
  const create = useAction(async () => {
    const made = await newExample(store.client, props.project);
    open({ kind: 'workflow', id: made.id });
  });
  return (
    <Empty
      cli={`nablahub workflows create -f workflow.yaml --project ${props.project}`}
      button={
        <>
          {create.error && <ProblemBox error={create.error} />}
          <button
            type="button"
            className="nbl-button"
            disabled={create.busy || !props.project}
            onClick={() => create.run()}
          >
            {trans.__('Create an example workflow')}
          </button>
        </>
      }
    >
      {trans.__('A workflow runs scripts and notebooks as jobs, one after another or side by side.')}
    </Empty>
  );
}

export function Datasets(): JSX.Element {
  const { store } = useServices();
  const trans = useTrans();
  const project = useProject();
  return (
    <Rows
      resource={store.datasets(project)}
      label={trans.__('Datasets')}
      text={dataset => dataset.name}
      row={({ id, name, latest_version: version }) => (
        <Row
          key={id}
          target={{ kind: 'dataset', id }}
          icon={datasetIcon}
          name={name}
          line={
            version ? (
              <>
                {trans._n('%1 file', '%1 files', version.files)}, {bytes(version.bytes)},{' '}
                <Age moment={version.created_at} />
              </>
            ) : (
              trans.__('no version yet')
            )
          }
        />
      )}
      empty={
        <Empty cli={`nablahub datasets put my-data ./folder --create --project ${project}`}>
          {trans.__('A dataset keeps files in versions that never change.')}
        </Empty>
      }
    />
  );
}

export function Models(): JSX.Element {
  const { store } = useServices();
  const trans = useTrans();
  const project = useProject();
  return (
    <Rows
      resource={store.models(project)}
      label={trans.__('Models')}
      text={model => model.name}
      row={({ id, name, latest_version: version }) => (
        <Row
          key={id}
          target={{ kind: 'model', id }}
          icon={modelIcon}
          name={name}
          line={
            version ? (
              <>
                {version.format}, <Age moment={version.created_at} />
              </>
            ) : (
              trans.__('no version yet')
            )
          }
        />
      )}
      empty={
        <Empty cli={`nablahub models create my-model --from my-data:latest --project ${project}`}>
          {trans.__('A model is a version of files that a deployment can serve; a run can make one.')}
        </Empty>
      }
    />
  );
}

export function Deployments(): JSX.Element {
  const { store } = useServices();
  const trans = useTrans();
  const project = useProject();
  return (
    <Rows
      resource={store.deployments(project)}
      label={trans.__('Deployments')}
      text={deployment => deployment.name}
      row={deployment => (
        <Row
          key={deployment.id}
          target={{ kind: 'deployment', id: deployment.id }}
          icon={deploymentIcon}
          name={deployment.name}
          line={deployment.model_ref}
          state={<StateMark state={deployment.state} reason={deployment.reason} />}
        />
      )}
      empty={
        <Empty cli={`nablahub deployments create my-api --model my-model --project ${project}`}>
          {trans.__('A deployment answers with a model’s predictions at an address of its own.')}
        </Empty>
      }
    />
  );
}
