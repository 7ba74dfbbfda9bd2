import React from 'react';

import { useServices } from '../components/context';
import type { Target } from '../links';
import { Part } from './head';

/** Named inputs or outputs; those that name a dataset or model open it. */
export function Outputs(props: { title: string; values: Record<string, unknown> }): JSX.Element | null {
  const entries = Object.entries(props.values ?? {});
  if (!entries.length) {
    return null;
  }
  return (
    <Part title={props.title}>
      <dl className="nbl-facts">
        {entries.map(([name, value]) => (
          <React.Fragment key={name}>
            <dt>{name}</dt>
            <dd>
              <Value value={value} />
            </dd>
          </React.Fragment>
        ))}
      </dl>
    </Part>
  );
}

function Value(props: { value: unknown }): JSX.Element {
  const { open } = useServices();
  const text = told(props.value);
  const target = targetOf(text);
  if (!target) {
    return <code>{text}</code>;
  }
  return (
    <button type="button" className="nbl-link" onClick={() => open(target)}>
      <code>{text}</code>
    </button>
  );
}

function told(value: unknown): string {
  if (typeof value === 'string') {
    return value;
  }
  const fields = (value ?? {}) as Record<string, unknown>;
  for (const name of ['ref', 'value', 'id']) {
    if (typeof fields[name] === 'string') {
      return fields[name];
    }
  }
  return JSON.stringify(value);
}

/** `ds…` and `mo…`, with or without a version, are references to things with a document. */
export function targetOf(reference: string): Target | null {
  const [, kind, rest] = /^(ds|mo)([a-z0-9]{10,})(?::|$)/.exec(reference) ?? [];
  if (!kind || !rest) {
    return null;
  }
  return { kind: kind === 'ds' ? 'dataset' : 'model', id: kind + rest };
}
