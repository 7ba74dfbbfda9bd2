import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { UUID } from '@lumino/coreutils';

import type { Fault, Page, Problem } from './types';

/** A refusal or failure of the service, with what to tell the user. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
    this.name = 'ApiError';
  }

  get status(): number {
    return this.problem.status;
  }

  get hint(): string {
    return this.problem.hint ?? '';
  }

  get faults(): Fault[] {
    return this.problem.errors ?? [];
  }

  /** Whether the same may work a little later without anybody changing anything. */
  get passing(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503;
  }
}

type Params = Record<string, string | number | boolean | undefined>;

interface Options {
  body?: unknown;
  /** In place of `body`: bytes or text that are sent as they are. */
  raw?: Blob | string;
  params?: Params;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** Calls the REST API through this Jupyter server, as its user. */
export class Client {
  constructor(settings: ServerConnection.ISettings) {
    // Lab's default, `no-store`, adds a cache-busting argument that the API would refuse.
    this._settings = ServerConnection.makeSettings({
      ...settings,
      init: { ...settings.init, cache: 'no-cache' }
    });
  }

  async get<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
    const response = await this.send('GET', path, {
      ...(params && { params }),
      ...(signal && { signal })
    });
    return (await response.json()) as T;
  }

  /** Read a list's first `count` rows, in as many pages of at most `most` as that takes. */
  async list<T>(path: string, params: Params, count: number, most = 500): Promise<Page<T>> {
    const items: T[] = [];
    let cursor: string | undefined;
    for (;;) {
      const limit = Math.min(count - items.length, most);
      const page = await this.get<Page<T>>(path, { ...params, limit, cursor });
      items.push(...page.items);
      if (!page.next || items.length >= count) {
        return { items, next: page.next };
      }
      cursor = page.next;
    }
  }

  /** Create or start something; a repetition after a lost answer makes nothing twice. */
  async post<T>(path: string, body: unknown = {}): Promise<T> {
    const headers = { 'Idempotency-Key': UUID.uuid4() };
    const response = await this.send('POST', path, { body, headers });
    return (response.status === 204 ? undefined : await response.json()) as T;
  }

  /** Change fields of something whose revision is known. */
  async patch<T>(path: string, body: unknown, revision: number): Promise<T> {
    const headers = {
      'If-Match': `"${revision}"`,
      'Content-Type': 'application/merge-patch+json'
    };
    const response = await this.send('PATCH', path, { body, headers });
    return (await response.json()) as T;
  }

  /** The address of a path of the API, as this page reaches it. */
  address(path: string): string {
    return URLExt.join(this._settings.baseUrl, 'nablahub', 'api', path);
  }

  /** Ask what the Jupyter server answers by itself, and not the service. */
  async own<T>(method: string, path: string, options: Options = {}): Promise<T> {
    const address = URLExt.join(this._settings.baseUrl, 'nablahub', path);
    const response = await this._send(method, address, options);
    return (await response.json()) as T;
  }

  /** Send a request and return an answer that is known to be a success. */
  send(method: string, path: string, options: Options = {}): Promise<Response> {
    return this._send(method, this.address(path), options);
  }

  private async _send(method: string, address: string, options: Options): Promise<Response> {
    const { body, raw, params = {}, headers = {}, signal } = options;
    const given = Object.entries(params).filter(([, value]) => value !== undefined);
    const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    const url = address + (given.length ? `?${query.toString()}` : '');
    const init: RequestInit = {
      method,
      headers: { 'Content-Type': 'application/json', ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(raw !== undefined && { body: raw }),
      ...(signal && { signal })
    };
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this._settings);
    } catch (error) {
      if (signal?.aborted) {
        throw error;
      }
      throw new ApiError(SERVER_AWAY);
    }
    if (!response.ok) {
      throw new ApiError(await problemOf(response));
    }
    return response;
  }

  private _settings: ServerConnection.ISettings;
}

const SERVER_AWAY: Problem = {
  title: 'No connection',
  status: 0,
  code: 'unavailable',
  detail: 'Your Jupyter server does not answer.',
  hint: 'It may have been stopped, or the network is down. Reload this page to start it again.'
};

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text();
  try {
    const told = JSON.parse(text) as Partial<Problem>;
    if (typeof told.detail === 'string') {
      return { title: response.statusText, code: '', ...told, detail: told.detail, status: response.status };
    }
  } catch {
    // Not JSON: something between here and the service answered in its place.
  }
  return {
    title: response.statusText,
    status: response.status,
    code: 'unreadable',
    detail: `The answer (${response.status} ${response.statusText}) is not from NablaHub.`,
    hint: 'Something between this page and the service answered instead: try again, then ask who runs this hub.'
  };
}

/** Put whatever was thrown into the form that is shown. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) {
    return error;
  }
  return new ApiError({
    title: 'Fault in the panel',
    status: -1,
    code: 'internal',
    detail: `The panel itself failed: ${error instanceof Error ? error.message : String(error)}.`,
    hint: 'Reload the page; if it happens again, report it with what you did before.'
  });
}
