/** The wire types of the REST API that the panel uses. */

export type State =
  | 'Pending'
  | 'Provisioned'
  | 'Running'
  | 'Succeeded'
  | 'Failed'
  | 'Error'
  | 'Canceled'
  | 'Skipped'
  | 'Stopped';

/** A part of a list; `next` is the cursor of the part after it. */
export interface Page<T> {
  items: T[];
  next: string | null;
}

/** RFC 9457 problem details with the fields NablaHub adds. */
export interface Problem {
  title: string;
  status: number;
  detail: string;
  code: string;
  hint?: string;
  errors?: Fault[];
}

/** One of several faults in a request. */
export interface Fault {
  message: string;
  pointer?: string;
  line?: number;
  column?: number;
  hint?: string;
}

interface Thing {
  id: string;
  name: string;
  created_at: string;
  updated_at: string;
}

export interface WhoAmI {
  name: string;
}

export interface Project extends Thing {
  description: string;
  revision: number;
}

export interface DatasetVersion {
  id: string;
  version: string;
  ref: string;
  files: number;
  bytes: number;
  message?: string | null;
  created_at: string;
}

export interface Dataset extends Thing {
  project_id: string;
  latest_version: DatasetVersion | null;
}

export interface DatasetFile {
  path: string;
  size: number;
}

export interface ModelVersion {
  version: string;
  ref: string;
  format: string;
  created_at: string;
  source?: unknown;
}

export interface Model extends Thing {
  project_id: string;
  latest_version: ModelVersion | null;
}

export interface Workflow extends Thing {
  project_id: string;
  revision: number;
}

export interface RunJob {
  name: string;
  job_id: string | null;
  action: string;
  needs: string[];
  state: State;
  reason: string | null;
  message: string | null;
  outputs: Record<string, unknown>;
  /** Path of the executed notebook in the API, once there is one. */
  notebook?: string | null;
}

export interface RunInput {
  ref: string | null;
  value: string | null;
}

export interface Run {
  number: number;
  uuid: string;
  workflow_id: string;
  workflow_name: string;
  project_id: string;
  state: State;
  reason: string | null;
  message: string | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  inputs: Record<string, RunInput>;
  outputs: Record<string, unknown>;
  jobs: RunJob[];
}

export interface Deployment extends Thing {
  project_id: string;
  state: State;
  reason: string | null;
  message: string | null;
  model_ref: string;
  replicas: number;
  ready_replicas: number;
  endpoint: string | null;
  enabled: boolean;
  revision: number;
  /** Name under which the server answers to the Open Inference Protocol. */
  model_name?: string | null;
  /** A request that the model can answer. */
  sample?: unknown;
}

/** A prediction key; its text is told once, when it is made. */
export interface DeploymentKey {
  id: string;
  key: string;
}

/** What a server-sent event of `/events` says. */
export interface Change {
  kind: string;
  id: string;
  type: 'created' | 'changed' | 'deleted';
  project: string | null;
  data: Record<string, unknown>;
}

/** Whether nothing more will happen to a thing in this state by itself. */
export function isFinal(state: State): boolean {
  return !['Pending', 'Provisioned', 'Running'].includes(state);
}
