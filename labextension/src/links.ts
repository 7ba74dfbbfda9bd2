import { URLExt } from '@jupyterlab/coreutils';

export const KINDS = ['project', 'workflow', 'run', 'dataset', 'model', 'deployment'] as const;
export type Kind = (typeof KINDS)[number];

/** Names one thing: its kind and its id, which for a run is `<workflow>/<number>`. */
export interface Target {
  kind: Kind;
  id: string;
}

/** The argument of Lab's address that opens a thing: `?nablahub=<kind>:<id>`. */
export const ARGUMENT = 'nablahub';

export function format(target: Target): string {
  return `${target.kind}:${target.id}`;
}

/** Read `<kind>:<id>`; null when it is none. */
export function parse(text: string): Target | null {
  const [, kind, id] = /^([a-z]+):(.+)$/.exec(text) ?? [];
  const known = KINDS.find(name => name === kind);
  if (!known || !id || (known === 'run' && !/^[^/]+\/[1-9]\d*$/.test(id))) {
    return null;
  }
  return { kind: known, id };
}

/** The address that opens a thing in its reader's own Lab, whoever that is. */
export function address(target: Target, baseUrl: string): string {
  const user = /^(.*\/)user\/[^/]+\/$/.exec(baseUrl);
  const base = user ? `${user[1]}hub/user-redirect/lab` : URLExt.join(baseUrl, 'lab');
  const url = new URL(base, window.location.href);
  url.searchParams.set(ARGUMENT, format(target));
  return url.href.replace(/%3A/g, ':').replace(/%2F/g, '/');
}

/** Take the target out of Lab's own address, once, so that a reload does not open it again. */
export function take(): Target | null {
  const url = new URL(window.location.href);
  const text = url.searchParams.get(ARGUMENT);
  if (text === null) {
    return null;
  }
  url.searchParams.delete(ARGUMENT);
  window.history.replaceState(window.history.state, '', url);
  return parse(text);
}
