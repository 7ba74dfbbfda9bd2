import React, { useEffect, useId, useState } from 'react';

import { asApiError, type ApiError } from '../api/client';
import type { Deployment } from '../api/types';
import { Age, Code, CopyButton, ProblemBox, useAction } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { StateMark } from '../components/state';
import { pretty } from '../format';
import { deploymentIcon } from '../icons';
import { Head, Part } from './head';
import { targetOf } from './outputs';
import { type Answer, modelPath, pathOf, predict, sample } from './predict';
import { Subject } from './subject';

/** A deployment: its address, and a form that asks it for a prediction. */
export function DeploymentDocument(props: { id: string }): JSX.Element {
  const { store } = useServices();
  return (
    <Subject resource={store.deployment(props.id)}>
      {deployment => <DeploymentView deployment={deployment} />}
    </Subject>
  );
}

function DeploymentView(props: { deployment: Deployment }): JSX.Element {
  const { deployment } = props;
  const { open, execute } = useServices();
  const trans = useTrans();
  const model = targetOf(deployment.model_ref);
  const toggle = useAction(() =>
    execute('nablahub:enable-deployment', {
      deployment: deployment.id,
      revision: deployment.revision,
      enabled: deployment.enabled ? 0 : 1
    })
  );
  const broken = deployment.state === 'Failed' || deployment.state === 'Error';
  const url = new URL(`${modelPath(deployment)}/infer`, window.location.href).href;
  return (
    <>
      <Head
        target={{ kind: 'deployment', id: deployment.id }}
        icon={deploymentIcon}
        name={deployment.name}
        reference={deployment.id}
        state={<StateMark state={deployment.state} reason={deployment.reason} />}
        line={
          <>
            {trans.__('%1 of %2 replicas ready', deployment.ready_replicas, deployment.replicas)} ·{' '}
            {trans.__('changed')} <Age moment={deployment.updated_at} />
          </>
        }
        actions={
          <button type="button" className="nbl-button" disabled={toggle.busy} onClick={() => toggle.run()}>
            {deployment.enabled ? trans.__('Stop') : trans.__('Start')}
          </button>
        }
        cli={cliOf(deployment)}
        python={pythonOf(deployment, url)}
      />
      {toggle.error && <ProblemBox error={toggle.error} />}
      {deployment.message && (
        <div className={broken ? 'nbl-problem' : 'nbl-note'} role="status">
          {deployment.message}
        </div>
      )}
      <Part title={trans.__('Address')}>
        {deployment.endpoint ? (
          <Code
            text={new URL(pathOf(deployment), window.location.href).href}
            label={trans.__('Copy the address')}
          />
        ) : (
          <p className="nbl-dim nbl-note">{trans.__('It gets one when it runs.')}</p>
        )}
        <p className="nbl-note">
          {trans.__('Serves')}{' '}
          <button
            type="button"
            className="nbl-link"
            disabled={!model}
            onClick={() => model && open(model)}
          >
            <code>{deployment.model_ref}</code>
          </button>
        </p>
      </Part>
      {deployment.state === 'Running' && deployment.endpoint && (
        <TryIt deployment={deployment} url={url} key={deployment.model_ref} />
      )}
    </>
  );
}

/** A form that sends JSON to the deployment and shows what comes back. */
function TryIt(props: { deployment: Deployment; url: string }): JSX.Element {
  const { deployment, url } = props;
  const { store } = useServices();
  const trans = useTrans();
  const id = useId();
  const [body, setBody] = useState('');
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [noSample, setNoSample] = useState<ApiError | null>(null);
  const send = useAction(async () => setAnswer(await predict(store.client, deployment, body)));
  const [prepared, setPrepared] = useState(false);
  const prepare = useAction(async () => {
    setBody(await sample(store.client, deployment));
    setPrepared(true);
  });
  const fault = faultOf(body);

  useEffect(() => {
    if (deployment.sample) {
      sample(store.client, deployment).then(
        text => {
          setBody(text);
          setPrepared(true);
        },
        (thrown: unknown) => setNoSample(asApiError(thrown))
      );
    }
    // Only once: what the user has typed must stay.
  }, []);

  const error = send.error ?? prepare.error ?? noSample;
  return (
    <Part
      title={trans.__('Try it')}
      aside={
        <CopyButton text={curlOf(url, body)} label={trans.__('Copy this request as a curl command')}>
          {trans.__('Copy as curl')}
        </CopyButton>
      }
    >
      <form
        className="nbl-form nbl-try"
        onSubmit={event => {
          event.preventDefault();
          send.run();
        }}
      >
        <label htmlFor={id}>{trans.__('Request (JSON, Open Inference Protocol)')}</label>
        <textarea
          id={id}
          className="nbl-input nbl-json"
          rows={8}
          spellCheck={false}
          value={body}
          aria-invalid={fault !== '' && body !== ''}
          onChange={event => setBody(event.target.value)}
        />
        {body && fault && <div className="nbl-dim">{fault}</div>}
        {error && <ProblemBox error={error} />}
        <div className="nbl-buttons">
          <button
            type="submit"
            className="nbl-button nbl-mod-main"
            disabled={send.busy || fault !== ''}
          >
            {send.busy ? trans.__('Asking…') : trans.__('Predict')}
          </button>
          {!prepared && (
            <button
              type="button"
              className="nbl-button"
              disabled={prepare.busy}
              onClick={() => prepare.run()}
            >
              {trans.__('Fill in an example')}
            </button>
          )}
          <span className="nbl-dim">{trans.__('Uses a key made for you that ends in an hour.')}</span>
        </div>
      </form>
      {answer && (
        <div className="nbl-answer" role="status">
          <div className="nbl-dim">
            {answer.status < 400 ? '✓' : '✗'} {answer.status} · {answer.milliseconds.toFixed(1)} ms
          </div>
          <pre className="nbl-log" tabIndex={0} aria-label={trans.__('Answer')}>
            {typeof answer.body === 'string' ? answer.body : pretty(answer.body)}
          </pre>
        </div>
      )}
    </Part>
  );
}

/** Why a text is no JSON; empty when it is. */
function faultOf(text: string): string {
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function curlOf(url: string, body: string): string {
  const quoted = body.replace(/\s*\n\s*/g, ' ').replace(/'/g, `'\\''`);
  return (
    `curl -X POST '${url}' -H "Authorization: Bearer $NABLAHUB_PREDICTION_KEY" ` +
    `-H 'Content-Type: application/json' -d '${quoted}'`
  );
}

/** How to get the key that the copied forms take from the environment. */
function keyOf(deployment: Deployment): string {
  return `export NABLAHUB_PREDICTION_KEY=$(nablahub deployments keys create ${deployment.id})`;
}

/** Without a sample a request is needed, so that its place is shown. */
function cliOf(deployment: Deployment): string {
  const command = `nablahub deployments predict ${deployment.id}`;
  return [
    keyOf(deployment),
    deployment.sample ? command : `echo '${JSON.stringify(OUTLINE)}' | ${command} --data -`
  ].join('\n');
}

/** A request whose values are still to be filled in. */
const OUTLINE = { inputs: [{ name: 'X', shape: [1, 1], datatype: 'FP32', data: [0] }] };

function pythonOf(deployment: Deployment, url: string): string {
  return [
    `# First, in a terminal: ${keyOf(deployment)}`,
    'import os',
    'import httpx',
    '',
    `request = ${literalOf(deployment.sample ?? OUTLINE)}`,
    'answer = httpx.post(',
    `    ${JSON.stringify(url)},`,
    '    headers={"Authorization": f"Bearer {os.environ[\'NABLAHUB_PREDICTION_KEY\']}"},',
    '    json=request,',
    ')',
    'print(answer.json())'
  ].join('\n');
}

/** JSON as Python writes it: that has other words for true, false and null. */
function literalOf(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(literalOf).join(', ')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).map(([name, held]) => `${JSON.stringify(name)}: ${literalOf(held)}`);
    return `{${fields.join(', ')}}`;
  }
  if (typeof value === 'boolean') {
    return value ? 'True' : 'False';
  }
  return value === null ? 'None' : JSON.stringify(value);
}
