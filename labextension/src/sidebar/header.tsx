import { addIcon, homeIcon } from '@jupyterlab/ui-components';
import React, { useEffect, useId, useRef, useState } from 'react';

import type { Project } from '../api/types';
import { ProblemBox, useAction } from '../components/basics';
import { useProject, useServices, useTrans } from '../components/context';
import { useResource } from '../resource';
import { Room } from './room';

/** Chooses the project that the sections below show, or makes a new one. */
export function Header(): JSX.Element {
  const { store, open } = useServices();
  const trans = useTrans();
  const resource = store.projects();
  const { value, error } = useResource(resource);
  const project = useProject();
  const [creating, setCreating] = useState(false);
  const creator = useRef<HTMLButtonElement>(null);
  const close = (): void => {
    setCreating(false);
    creator.current?.focus();
  };
  const projects = value?.items ?? [];

  // Without a choice, or with one that is gone, the newest is shown.
  const first = projects[0]?.id ?? '';
  const gone = value !== undefined && !value.next && !projects.some(({ id }) => id === project);
  useEffect(() => {
    if (gone) {
      store.project = first;
    }
  }, [gone, first, store]);

  return (
    <div className="nbl-header">
      <ConnectionNote />
      {error && <ProblemBox error={error} retry={() => void resource.refresh()} />}
      <div className="nbl-switcher">
        <select
          className="nbl-input"
          aria-label={trans.__('Project')}
          value={project}
          disabled={projects.length === 0}
          onChange={event => {
            store.project = event.target.value;
          }}
        >
          {projects.length === 0 && <option value="">{trans.__('No project yet')}</option>}
          {projects.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
        <button
          type="button"
          className="nbl-icon-button"
          title={trans.__('Open the project’s page')}
          aria-label={trans.__('Open the project’s page')}
          disabled={!project}
          onClick={() => open({ kind: 'project', id: project })}
        >
          <homeIcon.react tag="span" width="16px" height="16px" />
        </button>
        <button
          type="button"
          className="nbl-icon-button"
          title={trans.__('New project')}
          aria-label={trans.__('New project')}
          aria-expanded={creating}
          ref={creator}
          onClick={() => setCreating(!creating)}
        >
          <addIcon.react tag="span" width="16px" height="16px" />
        </button>
      </div>
      {value?.items.length === 0 && !creating && (
        <div className="nbl-empty">
          <p>{trans.__('A project holds what belongs together: runs, data, models, deployments.')}</p>
          <button type="button" className="nbl-button nbl-mod-main" onClick={() => setCreating(true)}>
            {trans.__('Create project')}
          </button>
        </div>
      )}
      {creating && <NewProject close={close} />}
      <Room />
    </div>
  );
}

function NewProject(props: { close: () => void }): JSX.Element {
  const { store } = useServices();
  const trans = useTrans();
  const id = useId();
  const [name, setName] = useState('');
  const create = useAction(async () => {
    const made = await store.client.post<Project>('projects', { name: name.trim() });
    await store.projects().refresh();
    store.project = made.id;
    props.close();
  });
  return (
    <form
      className="nbl-form"
      onSubmit={event => {
        event.preventDefault();
        create.run();
      }}
      onKeyDown={event => {
        if (event.key === 'Escape') {
          props.close();
        }
      }}
    >
      <label htmlFor={id}>{trans.__('Name of the new project')}</label>
      <input
        id={id}
        className="nbl-input"
        value={name}
        autoFocus
        autoComplete="off"
        onChange={event => setName(event.target.value)}
      />
      {create.error && <ProblemBox error={create.error} />}
      <div className="nbl-buttons">
        <button type="submit" className="nbl-button nbl-mod-main" disabled={!name.trim() || create.busy}>
          {create.busy ? trans.__('Creating…') : trans.__('Create project')}
        </button>
        <button type="button" className="nbl-button" onClick={props.close}>
          {trans.__('Cancel')}
        </button>
      </div>
    </form>
  );
}

/** Says that changes do not arrive at the moment. */
function ConnectionNote(): JSX.Element | null {
  const { store } = useServices();
  const trans = useTrans();
  const [connection, setConnection] = useState(store.events.connection);
  useEffect(() => {
    const changed = (): void => setConnection(store.events.connection);
    changed();
    store.events.connectionChanged.connect(changed);
    return () => {
      store.events.connectionChanged.disconnect(changed);
    };
  }, [store]);
  if (connection !== 'lost') {
    return null;
  }
  return (
    <div className="nbl-problem" role="status">
      <div className="nbl-problem-detail">
        {trans.__('Live changes do not arrive: the connection to NablaHub is lost.')}
      </div>
      <button
        type="button"
        className="nbl-button nbl-mod-small"
        onClick={() => store.events.reconnect()}
      >
        {trans.__('Connect now')}
      </button>
    </div>
  );
}
