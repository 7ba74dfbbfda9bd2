import React, { useEffect, useLayoutEffect, useRef, useState } from 'react';

import { type ApiError, asApiError } from '../api/client';
import { messages } from '../api/sse';
import { ProblemBox } from '../components/basics';
import { useServices, useTrans } from '../components/context';

/** Text above this length is cut at its beginning, so that an endless log stays light. */
const KEPT = 500_000;

/** A job's log, growing as the job writes it. */
export function Log(props: { job: string }): JSX.Element {
  const { job } = props;
  const { store } = useServices();
  const trans = useTrans();
  const [text, setText] = useState('');
  const [ended, setEnded] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const [attempt, setAttempt] = useState(0);
  const box = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);

  useEffect(() => {
    const abort = new AbortController();
    setText('');
    setEnded(false);
    setError(null);
    const follow = async (): Promise<void> => {
      const response = await store.client.send('GET', `jobs/${job}/logs`, {
        params: { follow: true },
        headers: { Accept: 'text/event-stream' },
        signal: abort.signal
      });
      for await (const message of messages(response)) {
        if (message.event === 'end') {
          setEnded(true);
          return;
        }
        const more = textOf(message.data);
        setText(before => (before + more).slice(-KEPT));
      }
    };
    follow().catch((thrown: unknown) => {
      if (!abort.signal.aborted) {
        setError(asApiError(thrown));
      }
    });
    return () => abort.abort();
  }, [job, attempt, store]);

  useLayoutEffect(() => {
    if (box.current && atEnd.current) {
      box.current.scrollTop = box.current.scrollHeight;
    }
  }, [text]);

  return (
    <>
      {error && <ProblemBox error={error} retry={() => setAttempt(attempt + 1)} />}
      <pre
        ref={box}
        className="nbl-log"
        role="log"
        aria-label={trans.__('Log')}
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          atEnd.current = scrollHeight - scrollTop - clientHeight < 20;
        }}
      >
        {text || (
          <span className="nbl-dim">
            {ended ? trans.__('It wrote nothing.') : trans.__('Nothing written yet.')}
          </span>
        )}
      </pre>
    </>
  );
}

function textOf(data: string): string {
  const told = JSON.parse(data) as { text?: string } | string;
  return typeof told === 'string' ? told : (told.text ?? '');
}
