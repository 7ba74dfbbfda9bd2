import type { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { Client } from './api/client';
import { EventStream } from './api/events';
import type {
  Artifact,
  Change,
  Dataset,
  DatasetVersion,
  Deployment,
  DiskUsages,
  Lineage,
  Model,
  ModelVersion,
  Mount,
  Page,
  Project,
  Run,
  State,
  Tag,
  WhoAmI,
  Workflow
} from './api/types';
import { isFinal } from './api/types';
import { Resource } from './resource';
import { DatasetUpload } from './upload/manager';

const PAGE = 50;

/** A list of which the first rows are known, and more can be asked for. */
export class ListResource<T> extends Resource<Page<T>> {
  constructor(fetch: (count: number) => Promise<Page<T>>, concerns: (change: Change) => boolean) {
    let count = PAGE;
    super(() => fetch(count), concerns);
    this._grow = () => {
      count += PAGE;
    };
  }

  /** Fetch the next rows as well. */
  async more(): Promise<void> {
    this._grow();
    await this.refresh();
  }

  private _grow: () => void;
}

/** Everything the views share: the client, the event stream, the chosen project, what is known. */
export class Store implements IDisposable {
  constructor(readonly client: Client) {
    this.events = new EventStream(client);
    this.events.changed.connect((_, change) => this._hear(change));
    this.events.connectionChanged.connect((_, connection) => {
      if (connection === 'live' && this._wasLost) {
        this.refresh();
      }
      this._wasLost ||= connection === 'lost';
    });
  }

  readonly events: EventStream;

  /** The id of the chosen project; empty while none is. */
  get project(): string {
    return this._project;
  }

  set project(id: string) {
    if (id !== this._project) {
      this._project = id;
      this._projectChanged.emit(id);
    }
  }

  get projectChanged(): ISignal<this, string> {
    return this._projectChanged;
  }

  get isDisposed(): boolean {
    return this.events.isDisposed;
  }

  dispose(): void {
    this.events.dispose();
    Signal.clearData(this);
  }

  /** Fetch again what is being looked at; everything else when it is looked at. */
  refresh(): void {
    this._known.forEach(resource => resource.invalidate());
  }

  whoami(): Resource<WhoAmI> {
    return this._one('whoami', () => false);
  }

  /** What `/storage` and the home take; a run that ended may have left something there. */
  diskUsage(): Resource<DiskUsages> {
    return this._one(
      'storage-usage',
      change => change.kind === 'run' && isFinal(change.data['state'] as State)
    );
  }

  projects(): ListResource<Project> {
    return this._list('projects', {}, change => change.kind === 'project');
  }

  projectOf(id: string): Resource<Project> {
    return this._one(`projects/${id}`, change => change.kind === 'project' && change.id === id);
  }

  workflows(project: string): ListResource<Workflow> {
    return this._list('workflows', { project }, within('workflow', project));
  }

  workflow(id: string): Resource<Workflow> {
    return this._one(`workflows/${id}`, change => change.kind === 'workflow' && change.id === id);
  }

  runs(project: string): ListResource<Run> {
    return this._list('runs', { project }, within('run', project));
  }

  workflowRuns(workflow: string): ListResource<Run> {
    return this._list(
      `workflows/${workflow}/runs`,
      {},
      change => change.kind === 'run' && (change.data['workflow_id'] ?? workflow) === workflow
    );
  }

  run(workflow: string, number: number): Resource<Run> {
    // The event names the run by its uuid, which is known only once the run has been read.
    const resource: Resource<Run> = this._one(
      `workflows/${workflow}/runs/${number}`,
      change => change.kind === 'run' && change.id === (resource.snapshot().value?.uuid ?? change.id)
    );
    return resource;
  }

  datasets(project: string): ListResource<Dataset> {
    return this._list('datasets', { project }, within('dataset', project));
  }

  dataset(id: string): Resource<Dataset> {
    return this._one(`datasets/${id}`, about('dataset', id));
  }

  datasetVersions(id: string): ListResource<DatasetVersion> {
    return this._list(`datasets/${id}/versions`, {}, about('dataset', id));
  }

  datasetTags(id: string): Resource<Page<Tag>> {
    return this._one(`datasets/${id}/tags`, about('dataset', id));
  }

  lineage(id: string, version: string): Resource<Lineage> {
    // What came of a version is made by things of many kinds, in other datasets too.
    return this._one(
      `datasets/${id}/versions/${version}/lineage`,
      change => change.kind === 'dataset' || change.kind === 'model'
    );
  }

  /** The upload into a dataset; it belongs to no view, so that it goes on without one. */
  upload(dataset: string): DatasetUpload {
    let known = this._uploads.get(dataset);
    if (!known) {
      known = new DatasetUpload(this.client, dataset);
      this._uploads.set(dataset, known);
    }
    return known;
  }

  /** What this server shows in `/datasets`; `here` is false where it can show nothing. */
  mounts(): Resource<{ here: boolean; items: Mount[] }> {
    return this._remember(
      'own/mounts',
      () =>
        new Resource<{ here: boolean; items: Mount[] }>(
          () => this.client.own('GET', 'mounts'),
          change => change.kind === 'dataset' && change.type === 'deleted'
        )
    );
  }

  artifacts(job: string): Resource<Page<Artifact>> {
    const path = `jobs/${job}/artifacts`;
    const fetch = async (): Promise<Page<Artifact>> => {
      await this.events.tried;
      return this.client.list<Artifact>(path, {}, Infinity, 10000);
    };
    return this._remember(path, () => new Resource<Page<Artifact>>(fetch, about('job', job)));
  }

  models(project: string): ListResource<Model> {
    return this._list('models', { project }, within('model', project));
  }

  model(id: string): Resource<Model> {
    return this._one(`models/${id}`, about('model', id));
  }

  modelVersions(id: string): ListResource<ModelVersion> {
    return this._list(`models/${id}/versions`, {}, about('model', id));
  }

  deployments(project: string): ListResource<Deployment> {
    return this._list('deployments', { project }, within('deployment', project));
  }

  deployment(id: string): Resource<Deployment> {
    return this._one(`deployments/${id}`, about('deployment', id));
  }

  private _one<T>(path: string, concerns: (change: Change) => boolean): Resource<T> {
    return this._remember(path, () => new Resource<T>(() => this._get<T>(path), concerns));
  }

  private _list<T>(
    path: string,
    params: Record<string, string>,
    concerns: (change: Change) => boolean
  ): ListResource<T> {
    const key = `${path}?${new URLSearchParams(params).toString()}`;
    const fetch = async (count: number): Promise<Page<T>> => {
      await this.events.tried;
      return this.client.list<T>(path, params, count);
    };
    return this._remember(key, () => new ListResource<T>(fetch, concerns));
  }

  private async _get<T>(path: string): Promise<T> {
    // Listen first, then read: so that no change falls between the two.
    await this.events.tried;
    return this.client.get<T>(path);
  }

  private _remember<R extends Resource<never>>(key: string, make: () => R): R;
  private _remember<R>(key: string, make: () => R): R;
  private _remember(key: string, make: () => Resource<unknown>): Resource<unknown> {
    let known = this._known.get(key);
    if (!known) {
      known = make();
      this._known.set(key, known);
    }
    return known;
  }

  private _hear(change: Change): void {
    for (const resource of this._known.values()) {
      if (resource.concerns(change)) {
        resource.invalidate();
      }
    }
  }

  private _known = new Map<string, Resource<unknown>>();
  private _project = '';
  private _uploads = new Map<string, DatasetUpload>();
  private _projectChanged = new Signal<this, string>(this);
  private _wasLost = false;
}

function about(kind: string, id: string): (change: Change) => boolean {
  return change => change.kind === kind && change.id === id;
}

function within(kind: string, project: string): (change: Change) => boolean {
  return change => change.kind === kind && (change.project === null || change.project === project);
}
