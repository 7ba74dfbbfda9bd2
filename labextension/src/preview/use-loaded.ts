import { type DependencyList, useEffect, useState } from 'react';

import { type ApiError, asApiError } from '../api/client';

/** Load something when a view appears and when `about` changes; `again` retries. */
export function useLoaded<T>(
  load: (signal: AbortSignal) => Promise<T>,
  about: DependencyList
): { value: T | undefined; error: ApiError | null; again: () => void } {
  const [state, setState] = useState<{ value?: T; error?: ApiError }>({});
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setState({});
    load(abort.signal).then(
      value => abort.signal.aborted || setState({ value }),
      (thrown: unknown) => abort.signal.aborted || setState({ error: asApiError(thrown) })
    );
    return () => abort.abort();
  }, [...about, attempt]);
  return { value: state.value, error: state.error ?? null, again: () => setAttempt(attempt + 1) };
}
