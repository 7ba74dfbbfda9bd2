import React, { useEffect, useState } from 'react';

import { type ApiError, asApiError } from '../api/client';
import { ProblemBox } from '../components/basics';
import { useTrans } from '../components/context';
import { bytes } from '../format';
import type { FileSource, TreeNode } from './source';
import { boxHeight, useWindow } from './window';

const HEIGHT = 24;
/** More files than anybody reads through; the words are to be made narrower then. */
const MOST = 5000;
/** In milliseconds, until somebody has probably ended to type. */
const PAUSE = 200;

/** The files whose path holds a text. */
export function Found(props: {
  source: FileSource;
  text: string;
  chosen: string | null;
  choose: (path: string) => void;
}): JSX.Element {
  const { source, text } = props;
  const trans = useTrans();
  const [items, setItems] = useState<TreeNode[]>([]);
  const [looking, setLooking] = useState(true);
  const [error, setError] = useState<ApiError | null>(null);
  const [box, setBox] = useState<HTMLDivElement | null>(null);
  const { first, end } = useWindow(box, items.length, HEIGHT);

  useEffect(() => {
    const abort = new AbortController();
    const look = async (): Promise<void> => {
      const found: TreeNode[] = [];
      for (let cursor: string | null = null; ; ) {
        const page = await source.search(text, cursor, abort.signal);
        found.push(...page.items);
        setItems(found.slice());
        cursor = page.next;
        if (cursor === null || found.length >= MOST) {
          return;
        }
      }
    };
    setLooking(true);
    setError(null);
    const timer = window.setTimeout(() => {
      look()
        .catch((thrown: unknown) => abort.signal.aborted || setError(asApiError(thrown)))
        .finally(() => abort.signal.aborted || setLooking(false));
    }, PAUSE);
    return () => {
      window.clearTimeout(timer);
      abort.abort();
    };
  }, [source, text]);

  const told = looking
    ? trans.__('Looking… %1 found so far', items.length)
    : items.length >= MOST
      ? trans.__('The first %1 files; name more of the path to see others', items.length)
      : trans._n('%1 file', '%1 files', items.length);
  return (
    <>
      <p className="nbl-dim nbl-note" role="status">
        {told}
      </p>
      {error && <ProblemBox error={error} />}
      <div ref={setBox} className="nbl-tree" tabIndex={-1} style={{ height: boxHeight(items.length, HEIGHT) }}>
        <div style={{ height: items.length * HEIGHT }}>
          <ul
            className="nbl-found"
            aria-label={trans.__('Files found')}
            style={{ transform: `translateY(${first * HEIGHT}px)` }}
          >
            {items.slice(first, end).map(item => (
              <li key={item.path}>
                <button
                  type="button"
                  className="nbl-tree-row"
                  aria-pressed={item.path === props.chosen}
                  title={item.path}
                  onClick={() => props.choose(item.path)}
                >
                  <span className="nbl-tree-name">{item.path}</span>
                  <span className="nbl-dim">{bytes(item.size ?? 0)}</span>
                </button>
              </li>
            ))}
          </ul>
        </div>
      </div>
    </>
  );
}
