import React, { useEffect, useLayoutEffect, useRef, useState } from 'react';

import { type ApiError, asApiError } from '../api/client';
import { messages } from '../api/sse';
import { ProblemBox } from '../components/basics';
import { useServices, useTrans } from '../components/context';

/** Text above this length is cut at its beginning, so that an endless log stays light. */
const KEPT = 500_000;

/** How long to wait before a log that was cut off is asked for again, in milliseconds. */
const RESUME_AFTER = 1000;

/** A job's log, growing as the job writes it. */
export function Log(props: { job: string; wrote?: () => void }): JSX.Element {
  const { job } = props;
  const wrote = useRef(props.wrote);
  wrote.current = props.wrote;
  const { store } = useServices();
  const trans = useTrans();
  const [text, setText] = useState('');
  const [ended, setEnded] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const [attempt, setAttempt] = useState(0);
  const box = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);
  const offset = useRef(0);
  const visible = useVisible(box);

  useEffect(() => {
    // A browser has few connections to spare: a tab in the background needs none.
    if (!visible || ended) {
      return undefined;
    }
    const abort = new AbortController();
    setError(null);
    const follow = async (): Promise<boolean> => {
      const response = await store.client.send('GET', `jobs/${job}/logs`, {
        params: { follow: true, offset: offset.current },
        headers: { Accept: 'text/event-stream' },
        signal: abort.signal
      });
      for await (const message of messages(response)) {
        if (message.event === 'end') {
          return true;
        }
        if (message.event !== 'log') {
          continue; // why it does not go on, which the job's page tells
        }
        const piece = JSON.parse(message.data) as Piece;
        offset.current = piece.offset;
        setText(before => (before + piece.text).slice(-KEPT));
        wrote.current?.();
      }
      return false;
    };
    let timer = 0;
    const again = (): void => {
      timer = window.setTimeout(() => void start(), RESUME_AFTER);
    };
    const start = async (): Promise<void> => {
      try {
        if (await follow()) {
          setEnded(true);
        } else {
          again(); // cut off before the end: the service was restarted
        }
      } catch (thrown) {
        if (abort.signal.aborted) {
          return;
        }
        const error = asApiError(thrown);
        // What fetch throws when a connection breaks is a TypeError.
        if (error.passing || thrown instanceof TypeError) {
          again();
        } else {
          setError(error);
        }
      }
    };
    void start();
    return () => {
      window.clearTimeout(timer);
      abort.abort();
    };
  }, [job, attempt, store, visible, ended]);

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

/** Some text of a log, and how many bytes of the log there are with it. */
interface Piece {
  text: string;
  offset: number;
}

/** Whether an element can be seen: its tab is in front, and it is scrolled into view. */
function useVisible(element: React.RefObject<HTMLElement>): boolean {
  const [visible, setVisible] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver(entries =>
      setVisible(entries.some(entry => entry.isIntersecting))
    );
    if (element.current) {
      observer.observe(element.current);
    }
    return () => observer.disconnect();
  }, [element]);
  return visible;
}
