import { checkIcon, copyIcon } from '@jupyterlab/ui-components';
import React, { useEffect, useReducer, useState } from 'react';

import { type ApiError, asApiError } from '../api/client';
import { age, duration, exact } from '../format';
import { useTrans } from './context';

/** How long ago something was, with the exact time on hover. */
export function Age(props: { moment: string }): JSX.Element {
  const [, tick] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const timer = window.setInterval(tick, 30_000);
    return () => window.clearInterval(timer);
  }, []);
  return (
    <time dateTime={props.moment} title={exact(props.moment)}>
      {age(props.moment)}
    </time>
  );
}

/** The time from one moment to another, or until now: then it goes on. */
export function Duration(props: { from: string; to: string | null }): JSX.Element {
  const [, tick] = useReducer((count: number) => count + 1, 0);
  const running = props.to === null;
  useEffect(() => {
    if (!running) {
      return undefined;
    }
    const timer = window.setInterval(tick, 1000);
    return () => window.clearInterval(timer);
  }, [running]);
  return <span>{duration(props.from, props.to)}</span>;
}

/** A button that copies a text and says so. */
export function CopyButton(props: { text: string; label: string; children?: string }): JSX.Element {
  const trans = useTrans();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) {
      return undefined;
    }
    const timer = window.setTimeout(() => setCopied(false), 2000);
    return () => window.clearTimeout(timer);
  }, [copied]);
  const copy = (): void => {
    void copyText(props.text).then(setCopied);
  };
  const Icon = copied ? checkIcon : copyIcon;
  return (
    <button
      type="button"
      className={props.children ? 'nbl-button nbl-mod-small' : 'nbl-icon-button'}
      title={props.label}
      aria-label={props.children ? undefined : props.label}
      onClick={copy}
    >
      <Icon.react tag="span" width="14px" height="14px" />
      {props.children && <span>{props.children}</span>}
      <span className="nbl-visually-hidden" role="status">
        {copied ? trans.__('Copied') : ''}
      </span>
    </button>
  );
}

/** Copy without the clipboard API too: it exists only on https and on this machine itself. */
async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/** A command line or other code with a button that copies it. */
export function Code(props: { text: string; label: string }): JSX.Element {
  return (
    <div className="nbl-code">
      <code>{props.text}</code>
      <CopyButton text={props.text} label={props.label} />
    </div>
  );
}

/** What went wrong, why, and what to do; with the button that does it. */
export function ProblemBox(props: { error: ApiError; retry?: () => void; label?: string }): JSX.Element {
  const trans = useTrans();
  const { error, retry } = props;
  return (
    <div className="nbl-problem" role="alert">
      <div className="nbl-problem-detail">{error.message}</div>
      {error.faults.length > 0 && (
        <ul>
          {error.faults.map((fault, index) => (
            <li key={index}>
              {fault.line ? trans.__('Line %1: ', fault.line) : ''}
              {fault.pointer ? <code>{fault.pointer}</code> : null} {fault.message} {fault.hint}
            </li>
          ))}
        </ul>
      )}
      {error.hint && <div className="nbl-dim">{error.hint}</div>}
      {retry && (
        <button type="button" className="nbl-button nbl-mod-small" onClick={retry}>
          {props.label ?? trans.__('Try again')}
        </button>
      )}
    </div>
  );
}

/** A list's last row: fetches more. */
export function More(props: { shown: number; more: () => void; loading: boolean }): JSX.Element {
  const trans = useTrans();
  return (
    <button
      type="button"
      className="nbl-button nbl-mod-small nbl-more"
      onClick={props.more}
      disabled={props.loading}
    >
      {props.loading ? trans.__('Loading…') : trans.__('Show more than these %1', props.shown)}
    </button>
  );
}

/** Tells that something is on its way, after a moment, so that fast answers do not flicker. */
export function Loading(): JSX.Element {
  const trans = useTrans();
  return (
    <div className="nbl-loading nbl-dim" role="status">
      {trans.__('Loading…')}
    </div>
  );
}

/** Make an asynchronous action's progress and failure visible where its button is. */
export function useAction<A extends unknown[]>(
  action: (...args: A) => Promise<unknown>
): { run: (...args: A) => void; busy: boolean; error: ApiError | null; clear: () => void } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const run = (...args: A): void => {
    setBusy(true);
    setError(null);
    action(...args)
      .catch((thrown: unknown) => setError(asApiError(thrown)))
      .finally(() => setBusy(false));
  };
  return { run, busy, error, clear: () => setError(null) };
}
