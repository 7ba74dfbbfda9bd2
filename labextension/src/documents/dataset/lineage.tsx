import React from 'react';

import { useServices, useTrans } from '../../components/context';
import { useResource } from '../../resource';
import { Part } from '../head';
import { targetOf } from '../outputs';

/** Where a version came from and what came of it, each a way to go there. */
export function LineagePart(props: {
  dataset: string;
  version: string;
  /** Look at another version of the same dataset, by its reference. */
  choose: (reference: string) => void;
}): JSX.Element | null {
  const { store } = useServices();
  const trans = useTrans();
  const { value } = useResource(store.lineage(props.dataset, props.version));
  if (!value) {
    return null;
  }
  const groups: [string, string[]][] = [
    [trans.__('Comes from'), [value.source]],
    [trans.__('Made from'), value.inputs],
    [trans.__('After'), value.parent ? [value.parent] : []],
    [trans.__('Before'), value.children],
    [trans.__('Made of it'), value.outputs],
    [trans.__('Used by'), value.used_by]
  ];
  return (
    <Part title={trans.__('Lineage of %1', props.version)}>
      <dl className="nbl-facts">
        {groups
          .filter(([, references]) => references.length > 0)
          .map(([title, references]) => (
            <React.Fragment key={title}>
              <dt className="nbl-dim">{title}</dt>
              <dd>
                {references.map(reference => (
                  <Thing key={reference} reference={reference} {...props} />
                ))}
              </dd>
            </React.Fragment>
          ))}
      </dl>
    </Part>
  );
}

function Thing(props: { reference: string; dataset: string; choose: (reference: string) => void }): JSX.Element {
  const { reference, dataset } = props;
  const { open } = useServices();
  const target = targetOf(/\b(ds|mo)[a-z0-9]{10,}(:[a-z0-9]+)?\b/.exec(reference)?.[0] ?? '');
  if (!target) {
    return <div>{reference}</div>;
  }
  const go = (): void =>
    target.id === dataset && reference.includes(':') ? props.choose(reference) : open(target);
  return (
    <div>
      <button type="button" className="nbl-link" onClick={go}>
        {reference}
      </button>
    </div>
  );
}
