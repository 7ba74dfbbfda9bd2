/** The wire types that the panel uses; `schema.ts` is made from the OpenAPI document. */

import type { components } from './schema';

type Schemas = components['schemas'];

export type Artifact = Schemas['Artifact'];
export type Dataset = Schemas['Dataset'];
export type DatasetFile = Schemas['File'];
export type DatasetVersion = Schemas['DatasetVersion'];
/** A file that differs between two versions. */
export type FileChange = Schemas['Change'];
/** A file or folder in a folder of a version. */
export type FileNode = Schemas['Node'];
/** What `/storage` of a team or the home takes. */
export type DiskUsage = Schemas['DiskUsage'];
export type DiskUsages = Schemas['DiskUsages'];
/** A version that a server shows in `/datasets`. */
export type Mount = Schemas['Mount'];
export type Lineage = Schemas['Lineage'];
export type Tag = Schemas['Tag'];
export type TransferPlan = Schemas['TransferPlan'];
export type Upload = Schemas['Upload'];
export type Deployment = Schemas['Deployment'];
/** A prediction key with its text, which is told once. */
export type DeploymentKey = Schemas['NewKey'];
export type Model = Schemas['Model'];
export type ModelVersion = Schemas['ModelVersion'];
/** What went wrong; its `type` says no more than its code. */
export type Problem = Omit<Schemas['Problem'], 'type'>;
export type Fault = NonNullable<Problem['errors']>[number];
export type Project = Schemas['Project'];
export type Run = Schemas['Run'];
export type RunJob = Schemas['RunJob'];
export type State = Run['state'];
export type WhoAmI = Schemas['WhoAmI'];
export type Workflow = Schemas['WorkflowDetail'];

/** A part of a list; `next` is the cursor of the part after it. */
export interface Page<T> {
  items: T[];
  next: string | null;
}

/** What a server-sent event of `/events` says. */
export interface Change {
  kind: string;
  id: string;
  type: string;
  project: string | null;
  data: Record<string, unknown>;
}

/** Whether nothing more will happen to a thing in this state by itself. */
export function isFinal(state: State): boolean {
  return !['Pending', 'Provisioned', 'Running'].includes(state);
}
