import type { LabIcon } from '@jupyterlab/ui-components';
import React, { useId, useState } from 'react';

import { format, type Target } from '../links';
import type { Snapshot } from '../resource';
import type { ListResource } from '../store';
import type { Page } from '../api/types';
import { useResource } from '../resource';
import { Loading, More, ProblemBox } from './basics';
import { useServices, useTrans } from './context';

const FILTER_FROM = 11;

interface RowProps {
  target: Target;
  icon: LabIcon;
  name: string;
  /** One dim line: version, age, owner. */
  line?: React.ReactNode;
  state?: React.ReactNode;
  /** One more button at the end. */
  action?: React.ReactNode;
  nested?: boolean;
}

/** A row of a list; a click opens the thing's document. */
export function Row(props: RowProps): JSX.Element {
  const { open } = useServices();
  return (
    <li className={`nbl-row${props.nested ? ' nbl-mod-nested' : ''}`} data-nablahub={format(props.target)}>
      <button type="button" className="nbl-row-main" onClick={() => open(props.target)}>
        <props.icon.react tag="span" className="nbl-row-icon" aria-hidden="true" />
        <span className="nbl-row-text">
          <span className="nbl-row-name">{props.name}</span>
          {props.line && <span className="nbl-row-line nbl-dim">{props.line}</span>}
        </span>
        {props.state}
      </button>
      {props.action}
    </li>
  );
}

interface RowsProps<T> {
  resource: ListResource<T>;
  label: string;
  /** What the filter looks at. */
  text: (item: T) => string;
  row: (item: T) => React.ReactNode;
  empty: React.ReactNode;
}

/** A live list with its loading, empty and failed forms, a filter when it is long, and more. */
export function Rows<T>(props: RowsProps<T>): JSX.Element {
  const snapshot: Snapshot<Page<T>> = useResource(props.resource);
  const trans = useTrans();
  const [filter, setFilter] = useState('');
  const id = useId();
  const { value, error, loading } = snapshot;
  if (!value) {
    return error ? (
      <ProblemBox error={error} retry={() => void props.resource.refresh()} />
    ) : (
      <Loading />
    );
  }
  const wanted = filter.trim().toLowerCase();
  const shown = value.items.filter(item => props.text(item).toLowerCase().includes(wanted));
  return (
    <>
      {error && <ProblemBox error={error} retry={() => void props.resource.refresh()} />}
      {value.items.length >= FILTER_FROM && (
        <div className="nbl-filter">
          <label className="nbl-visually-hidden" htmlFor={id}>
            {trans.__('Filter %1', props.label)}
          </label>
          <input
            id={id}
            type="search"
            className="nbl-input"
            placeholder={trans.__('Filter by name')}
            value={filter}
            onChange={event => setFilter(event.target.value)}
          />
        </div>
      )}
      {value.items.length === 0 ? (
        props.empty
      ) : (
        <ul className="nbl-rows" aria-label={props.label}>
          {shown.map(props.row)}
        </ul>
      )}
      {value.items.length > 0 && shown.length === 0 && (
        <p className="nbl-dim nbl-note">{trans.__('Nothing here has “%1” in its name.', filter)}</p>
      )}
      {value.next && (
        <More
          shown={value.items.length}
          loading={loading}
          more={() => void props.resource.more()}
        />
      )}
    </>
  );
}
