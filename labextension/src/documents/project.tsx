import React from 'react';

import type { Project } from '../api/types';
import { Age } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { projectIcon } from '../icons';
import { Datasets, Deployments, Models, Workflows } from '../sidebar/sections';
import { ProjectContext } from '../components/context';
import { Head, Part } from './head';
import { Subject } from './subject';

/** A project's home: everything in it at a glance. */
export function ProjectDocument(props: { id: string }): JSX.Element {
  const { store } = useServices();
  return (
    <Subject resource={store.projectOf(props.id)}>{project => <ProjectView project={project} />}</Subject>
  );
}

function ProjectView(props: { project: Project }): JSX.Element {
  const { project } = props;
  const trans = useTrans();
  return (
    <ProjectContext.Provider value={project.id}>
      <Head
        target={{ kind: 'project', id: project.id }}
        icon={projectIcon}
        name={project.name}
        reference={project.id}
        line={
          <>
            {trans.__('created')} <Age moment={project.created_at} />
          </>
        }
        cli={`nablahub projects show ${project.id}`}
        python={`import nablahub\n\nproject = nablahub.connect().projects.get("${project.id}")`}
      />
      {project.description && <p className="nbl-note">{project.description}</p>}
      <div className="nbl-tiles">
        <Part title={trans.__('Workflows')}>
          <Workflows />
        </Part>
        <Part title={trans.__('Data')}>
          <Datasets />
        </Part>
        <Part title={trans.__('Models')}>
          <Models />
        </Part>
        <Part title={trans.__('Deployments')}>
          <Deployments />
        </Part>
      </div>
    </ProjectContext.Provider>
  );
}
