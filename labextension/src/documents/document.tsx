import { MainAreaWidget } from '@jupyterlab/apputils';
import type { LabIcon } from '@jupyterlab/ui-components';
import React from 'react';

import type { Services } from '../components/context';
import {
  datasetIcon,
  deploymentIcon,
  modelIcon,
  projectIcon,
  runIcon
} from '../icons';
import { format, type Kind, type Target } from '../links';
import { view } from '../sidebar/panel';
import { DatasetDocument } from './dataset';
import { DeploymentDocument } from './deployment';
import { ModelDocument } from './model';
import { ProjectDocument } from './project';
import { RunDocument } from './run';
import { WorkflowDocument } from './workflow';

const ICONS: Record<Kind, LabIcon> = {
  project: projectIcon,
  workflow: runIcon,
  run: runIcon,
  dataset: datasetIcon,
  model: modelIcon,
  deployment: deploymentIcon
};

/** A tab in the main area that shows one thing. */
export class Document extends MainAreaWidget {
  constructor(
    readonly target: Target,
    services: Services
  ) {
    const content = view(services, <div className="nbl-document-inner">{element(target)}</div>);
    content.addClass('nbl-document');
    super({ content });
    this.id = Document.idOf(target);
    this.toolbar.hide();
    this.title.icon = ICONS[target.kind];
    this.title.closable = true;
    void this._entitle(services);
  }

  static idOf(target: Target): string {
    return `nablahub-${format(target)}`;
  }

  /** Name the tab after the thing once its name is known. */
  private async _entitle(services: Services): Promise<void> {
    this.title.label = services.trans.__(target(this.target.kind));
    const { store, trans } = services;
    const named = {
      project: () => store.projectOf(this.target.id),
      workflow: () => store.workflow(this.target.id),
      dataset: () => store.dataset(this.target.id),
      model: () => store.model(this.target.id),
      deployment: () => store.deployment(this.target.id),
      run: () => store.run(...runOf(this.target.id))
    }[this.target.kind]();
    const tell = (): void => {
      const value = named.snapshot().value;
      if (!value || this.isDisposed) {
        return;
      }
      this.title.label =
        'workflow_name' in value
          ? trans.__('%1, run %2', value.workflow_name, value.number)
          : value.name;
      this.title.caption = this.title.label;
    };
    this.disposed.connect(named.subscribe(tell));
    tell();
  }
}

function target(kind: Kind): string {
  return kind[0]!.toUpperCase() + kind.slice(1);
}

function runOf(id: string): [string, number] {
  const [workflow, number] = id.split('/');
  return [workflow!, Number(number)];
}

function element({ kind, id }: Target): JSX.Element {
  switch (kind) {
    case 'project':
      return <ProjectDocument id={id} />;
    case 'workflow':
      return <WorkflowDocument id={id} />;
    case 'run': {
      const [workflow, number] = runOf(id);
      return <RunDocument workflow={workflow} number={number} />;
    }
    case 'dataset':
      return <DatasetDocument id={id} />;
    case 'model':
      return <ModelDocument id={id} />;
    case 'deployment':
      return <DeploymentDocument id={id} />;
  }
}
