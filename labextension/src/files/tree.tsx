import { fileIcon, folderIcon } from '@jupyterlab/ui-components';
import React, { useEffect, useId, useState, useSyncExternalStore } from 'react';

import { Loading } from '../components/basics';
import { useTrans } from '../components/context';
import { bytes } from '../format';
import type { TreeModel, TreeRow } from './model';
import { nameOf } from './source';
import { boxHeight, reveal, useWindow } from './window';

/** Of a row, in pixels; the style sheet says the same. */
const HEIGHT = 24;
/** A folder's next page is fetched when so few rows are left before its end. */
const AHEAD = 1000;

interface Props {
  model: TreeModel;
  label: string;
  chosen: string | null;
  choose: (path: string) => void;
}

/** A tree of files of any length: only the rows that are seen are drawn. */
export function Tree(props: Props): JSX.Element {
  const { model, chosen, choose } = props;
  const trans = useTrans();
  const rows = useSyncExternalStore(model.subscribe, model.rows);
  const [box, setBox] = useState<HTMLDivElement | null>(null);
  const [active, setActive] = useState(0);
  const [atEnd, setAtEnd] = useState(false);
  const id = useId();
  const { first, end, page } = useWindow(box, rows.length, HEIGHT);
  const at = Math.min(active, rows.length - 1);

  useEffect(() => {
    for (let number = end; number < Math.min(rows.length, end + AHEAD); number++) {
      prefetch(model, rows[number]!);
    }
    rows.slice(first, end).forEach(row => prefetch(model, row));
  }, [model, rows, first, end]);

  const go = (number: number): void => {
    const row = Math.max(0, Math.min(rows.length - 1, number));
    setActive(row);
    reveal(box, row, HEIGHT);
  };
  useEffect(() => {
    if (atEnd) {
      go(rows.length - 1);
      setAtEnd(false);
    }
  });
  const press = (row: TreeRow): void => {
    if (row.kind === 'failed') {
      void model.more(row.path);
    } else if (row.node?.folder) {
      model.toggle(row.path);
    } else if (row.node) {
      choose(row.path);
    }
  };
  const keyed = (event: React.KeyboardEvent): void => {
    const row = rows[at];
    if (!row || event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    const keys: Record<string, () => unknown> = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      PageDown: () => go(at + page),
      PageUp: () => go(at - page),
      Home: () => go(0),
      // The end is not known before everything has been read.
      End: () => void model.toEnd().then(() => setAtEnd(true)),
      Enter: () => press(row),
      ' ': () => press(row),
      ArrowRight: () => (row.open ? go(at + 1) : row.node?.folder && model.toggle(row.path, true)),
      ArrowLeft: () => (row.open ? model.toggle(row.path, false) : go(parentOf(rows, at)))
    };
    const act = keys[event.key];
    if (act) {
      event.preventDefault();
      event.stopPropagation();
      act();
    }
  };

  if (!model.known) {
    return <Loading />;
  }
  return (
    <div
      ref={setBox}
      className="nbl-tree"
      style={{ height: boxHeight(rows.length, HEIGHT) }}
      role="tree"
      tabIndex={0}
      aria-label={props.label}
      aria-activedescendant={rows.length ? `${id}-${at}` : undefined}
      onKeyDown={keyed}
    >
      <div role="none" style={{ height: rows.length * HEIGHT }}>
        <div role="none" style={{ transform: `translateY(${first * HEIGHT}px)` }}>
          {rows.slice(first, end).map((row, index) => (
            <div
              key={`${row.kind} ${row.path}`}
              id={`${id}-${first + index}`}
              role="treeitem"
              className={`nbl-tree-row${first + index === at ? ' nbl-mod-active' : ''}`}
              style={{ paddingInlineStart: 8 + 16 * (row.level - 1) }}
              aria-level={row.level}
              aria-expanded={row.node?.folder ? row.open : undefined}
              aria-selected={row.kind === 'node' && row.path === chosen}
              title={row.node ? row.path : undefined}
              onClick={() => {
                setActive(first + index);
                press(row);
              }}
            >
              <Line row={row} say={trans.__.bind(trans)} />
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}

function Line(props: { row: TreeRow; say: (text: string, ...values: string[]) => string }): JSX.Element {
  const { row, say } = props;
  if (row.kind === 'failed') {
    return (
      <span className="nbl-tree-name">
        {row.error?.message} {say('Press Enter to try again.')}
      </span>
    );
  }
  if (!row.node) {
    return <span className="nbl-dim">{row.kind === 'more' ? say('Loading…') : say('There are no files.')}</span>;
  }
  const Icon = row.node.folder ? folderIcon : fileIcon;
  return (
    <>
      <span className={`nbl-tree-fold${row.open ? ' nbl-mod-open' : ''}`} aria-hidden="true">
        {row.node.folder ? '▸' : ''}
      </span>
      <Icon.react tag="span" className="nbl-row-icon" width="16px" height="16px" aria-hidden="true" />
      <span className="nbl-tree-name">{nameOf(row.path)}</span>
      {row.node.size !== null && <span className="nbl-dim">{bytes(row.node.size)}</span>}
    </>
  );
}

function prefetch(model: TreeModel, row: TreeRow): void {
  if (row.kind === 'more') {
    void model.more(row.path);
  }
}

function parentOf(rows: TreeRow[], at: number): number {
  const level = rows[at]?.level ?? 1;
  for (let number = at - 1; number >= 0; number--) {
    if (rows[number]!.level < level) {
      return number;
    }
  }
  return at;
}
