import type { LabIcon } from '@jupyterlab/ui-components';
import React from 'react';

import { CopyButton } from '../components/basics';
import { useServices, useTrans } from '../components/context';
import { address, type Target } from '../links';

interface Props {
  target: Target;
  icon: LabIcon;
  name: string;
  /** What names the thing in commands and specs. */
  reference: string;
  state?: React.ReactNode;
  /** At most two. */
  actions?: React.ReactNode;
  line?: React.ReactNode;
  cli: string;
  python: string;
}

/** A document's head: what it is, its reference, state, main actions, and its forms to copy. */
export function Head(props: Props): JSX.Element {
  const { baseUrl } = useServices();
  const trans = useTrans();
  return (
    <div className="nbl-head">
      <div className="nbl-head-title">
        <props.icon.react tag="span" width="22px" height="22px" aria-hidden="true" />
        <h1>{props.name}</h1>
        {props.state}
        <span className="nbl-grow" />
        {props.actions}
      </div>
      <div className="nbl-head-line">
        <code>{props.reference}</code>
        <CopyButton text={props.reference} label={trans.__('Copy the reference')} />
        {props.line && <span className="nbl-dim">{props.line}</span>}
        <span className="nbl-grow" />
        <CopyButton text={props.cli} label={props.cli}>
          {trans.__('Copy as CLI')}
        </CopyButton>
        <CopyButton text={props.python} label={props.python}>
          {trans.__('Copy as Python')}
        </CopyButton>
        <CopyButton text={address(props.target, baseUrl)} label={trans.__('Copy a link that opens this in Lab')}>
          {trans.__('Copy link')}
        </CopyButton>
      </div>
    </div>
  );
}

/** A titled part of a document. */
export function Part(props: { title: string; children: React.ReactNode; aside?: React.ReactNode }): JSX.Element {
  return (
    <section className="nbl-part" aria-label={props.title}>
      <h2>
        {props.title}
        {props.aside && <span className="nbl-part-aside">{props.aside}</span>}
      </h2>
      {props.children}
    </section>
  );
}
