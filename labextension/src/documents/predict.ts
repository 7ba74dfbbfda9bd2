import type { Client } from '../api/client';
import { ApiError } from '../api/client';
import type { Deployment, DeploymentKey } from '../api/types';
import { pretty } from '../format';

/** A key made for the form lives this long, in seconds. */
const KEY_LIFE = 3600;

/** What a model server says of a model (Open Inference Protocol v2, model metadata). */
interface Metadata {
  inputs?: { name: string; datatype: string; shape: number[] }[];
}

/** An answer of a deployment. */
export interface Answer {
  status: number;
  body: unknown;
  milliseconds: number;
}

const keys = new Map<string, { key: string; until: number }>();

/** Where the deployment answers, at the address this page came from: so no other origin is asked. */
export function pathOf(deployment: Deployment): string {
  const { pathname } = new URL(deployment.endpoint ?? '/', window.location.href);
  return pathname.replace(/\/$/, '');
}

export function modelPath(deployment: Deployment): string {
  return `${pathOf(deployment)}/v2/models/${encodeURIComponent(deployment.model_name ?? deployment.name)}`;
}

/** Make a request to start from: the deployment's own sample, else zeros of the right shape. */
export async function sample(client: Client, deployment: Deployment): Promise<string> {
  if (deployment.sample) {
    return pretty(deployment.sample);
  }
  const answer = await ask(client, deployment, modelPath(deployment), null);
  const inputs = (answer.body as Metadata).inputs ?? [];
  return pretty({ inputs: inputs.map(zeros) });
}

/** Send the form's text and return what came back. */
export function predict(client: Client, deployment: Deployment, body: string): Promise<Answer> {
  return ask(client, deployment, `${modelPath(deployment)}/infer`, body);
}

function zeros(input: { name: string; datatype: string; shape: number[] }): unknown {
  const shape = input.shape.map(size => (size > 0 ? size : 1));
  const count = shape.reduce((total, size) => total * size, 1);
  const value = input.datatype === 'BYTES' ? '' : 0;
  return { ...input, shape, data: Array<unknown>(count).fill(value) };
}

async function ask(client: Client, deployment: Deployment, path: string, body: string | null): Promise<Answer> {
  const key = await keyFor(client, deployment);
  const started = performance.now();
  let response: Response;
  try {
    response = await fetch(path, {
      method: body === null ? 'GET' : 'POST',
      credentials: 'omit',
      cache: 'no-store',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${key}` },
      ...(body !== null && { body })
    });
  } catch {
    throw new ApiError({
      title: 'No connection',
      status: 0,
      code: 'unavailable',
      detail: 'The deployment’s address does not answer.',
      hint: 'Look at its state above; it answers while it is Running.'
    });
  }
  const text = await response.text();
  const milliseconds = performance.now() - started;
  if (response.status === 401) {
    keys.delete(deployment.id);
  }
  try {
    return { status: response.status, body: JSON.parse(text) as unknown, milliseconds };
  } catch {
    return { status: response.status, body: text, milliseconds };
  }
}

async function keyFor(client: Client, deployment: Deployment): Promise<string> {
  const known = keys.get(deployment.id);
  if (known && known.until > Date.now()) {
    return known.key;
  }
  const made = await client.post<DeploymentKey>(`deployments/${deployment.id}/keys`, {
    name: 'Try it in Lab',
    expires_in: KEY_LIFE
  });
  keys.set(deployment.id, { key: made.key, until: Date.now() + (KEY_LIFE - 60) * 1000 });
  return made.key;
}
