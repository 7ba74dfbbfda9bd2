import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, SidePanel } from '@jupyterlab/ui-components';
import React from 'react';

import { type Services, ServicesContext, useProject } from '../components/context';
import { nablaIcon } from '../icons';
import { Header } from './header';
import { Datasets, Deployments, Models, Workflows } from './sections';

/** The one sidebar: the project on top, a section for each kind of thing below. */
export class NablaPanel extends SidePanel {
  constructor(services: Services) {
    super();
    const { trans } = services;
    this.id = 'nablahub-panel';
    this.title.icon = nablaIcon;
    this.title.caption = trans.__('NablaHub: projects, runs, data, models, deployments');
    this.addClass('nbl-panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('NablaHub'));
    const header = view(services, <Header />);
    header.addClass('nbl-header-widget');
    this.header.addWidget(header);
    for (const [label, section] of sections(trans)) {
      const widget = view(services, <InProject>{section}</InProject>);
      widget.addClass('nbl-section');
      widget.title.label = label;
      this.addWidget(widget);
    }
  }
}

function sections(trans: TranslationBundle): [string, JSX.Element][] {
  return [
    [trans.__('Workflows'), <Workflows />],
    [trans.__('Data'), <Datasets />],
    [trans.__('Models'), <Models />],
    [trans.__('Deployments'), <Deployments />]
  ];
}

/** Render a section only inside a project, and afresh in another one. */
function InProject(props: { children: JSX.Element }): JSX.Element | null {
  const project = useProject();
  return project ? <React.Fragment key={project}>{props.children}</React.Fragment> : null;
}

/** Put a React view with its services into a widget. */
export function view(services: Services, element: JSX.Element): ReactWidget {
  return ReactWidget.create(
    <ServicesContext.Provider value={services}>{element}</ServicesContext.Provider>
  );
}
