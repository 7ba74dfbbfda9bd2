import React from 'react';

import type { DatasetVersion } from '../../api/types';
import { CopyButton, ProblemBox, useAction } from '../../components/basics';
import { useServices, useTrans } from '../../components/context';
import { useFreshOnReturn, useResource } from '../../resource';

/** Mounts a version in the running server, tells where it is there, and unmounts it. */
export function MountPart(props: { version: Pick<DatasetVersion, 'version' | 'ref'> }): JSX.Element | null {
  const { version } = props;
  const { store } = useServices();
  const trans = useTrans();
  const resource = store.mounts();
  const { value, error } = useResource(resource);
  // Notebooks and terminals mount and unmount, too.
  useFreshOnReturn(resource);
  const mount = useAction(async () => {
    await store.client.own('POST', 'mounts', { body: { dataset: version.ref } });
    await resource.refresh();
  });
  const unmount = useAction(async (name: string) => {
    await store.client.own('DELETE', 'mounts', { params: { name } });
    await resource.refresh();
  });
  const failed = mount.error ?? unmount.error;
  if (!value?.here) {
    return error ? <ProblemBox error={error} retry={() => void resource.refresh()} /> : null;
  }
  const mounted = value.items.filter(found => found.version === version.ref && found.state !== 'Failed');
  const label = trans.__('Mount %1 in this server, read-only', version.version);
  return (
    <div className="nbl-mount" role="group" aria-label={trans.__('Mount in this server')}>
      {mounted.map(found => (
        <div key={found.id} className="nbl-mount-line">
          <span className="nbl-dim">{trans.__('Mounted, read-only, at')}</span>
          <code>{found.path}</code>
          <CopyButton text={found.path} label={trans.__('Copy the path')} />
          <button
            type="button"
            className="nbl-button nbl-mod-small"
            aria-label={trans.__('Unmount %1', found.path)}
            disabled={unmount.busy}
            onClick={() => unmount.run(found.name)}
          >
            {unmount.busy ? trans.__('Unmounting…') : trans.__('Unmount')}
          </button>
        </div>
      ))}
      {mounted.length === 0 && (
        <button
          type="button"
          className="nbl-button nbl-mod-small"
          title={label}
          disabled={mount.busy}
          onClick={() => mount.run()}
        >
          {mount.busy ? trans.__('Mounting…') : trans.__('Mount')}
        </button>
      )}
      <span className="nbl-visually-hidden" role="status">
        {mounted.map(found => trans.__('Mounted at %1', found.path)).join(', ')}
      </span>
      {failed && <ProblemBox error={failed} />}
    </div>
  );
}
