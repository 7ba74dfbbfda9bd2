import { useEffect, useSyncExternalStore } from 'react';

import { ApiError, asApiError } from './api/client';
import type { Change } from './api/types';

/** What a view knows of something: its last known value, and what went wrong since. */
export interface Snapshot<T> {
  value?: T;
  error?: ApiError;
  loading: boolean;
}

/**
 * Something of the service that views look at.
 *
 * It is fetched when the first view looks, again after each change that concerns it while any
 * view looks, and never by a timer.
 */
export class Resource<T> {
  constructor(
    private readonly _fetch: () => Promise<T>,
    readonly concerns: (change: Change) => boolean
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this._listeners.add(listener);
    if (this._stale) {
      void this.refresh();
    }
    return () => this._listeners.delete(listener);
  };

  readonly snapshot = (): Snapshot<T> => this._snapshot;

  /** Note that the value is no longer the newest; fetch it when somebody looks. */
  invalidate(): void {
    this._stale = true;
    if (this._listeners.size) {
      void this.refresh();
    }
  }

  /** Fetch now; resolves with the news. Calls while one is under way make one more, not many. */
  refresh(): Promise<void> {
    this._stale = true;
    this._fetching ??= this._fetchUntilFresh();
    return this._fetching;
  }

  private async _fetchUntilFresh(): Promise<void> {
    this._set({ ...this._snapshot, loading: true });
    while (this._stale) {
      this._stale = false;
      try {
        const value = await this._fetch();
        this._set({ value, loading: this._stale });
      } catch (error) {
        const { value } = this._snapshot;
        const told = { error: asApiError(error), loading: this._stale };
        this._set(value === undefined ? told : { value, ...told });
      }
    }
    // Here and not in a `finally`: a change told in between would be lost.
    this._fetching = null;
  }

  private _set(snapshot: Snapshot<T>): void {
    this._snapshot = snapshot;
    this._listeners.forEach(listener => listener());
  }

  private _fetching: Promise<void> | null = null;
  private _listeners = new Set<() => void>();
  private _snapshot: Snapshot<T> = { loading: false };
  private _stale = true;
}

/** Ask for a resource again when somebody comes back to the page: what it tells changes without a word. */
export function useFreshOnReturn<T>(resource: Resource<T>): void {
  useEffect(() => {
    const look = (): void => {
      if (!document.hidden) {
        resource.invalidate();
      }
    };
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, [resource]);
}

/** Look at a resource from a React component. */
export function useResource<T>(resource: Resource<T>): Snapshot<T> {
  return useSyncExternalStore(resource.subscribe, resource.snapshot);
}
