import React, { useMemo, useState } from 'react';

import { ProblemBox, useAction } from '../components/basics';
import { useTrans } from '../components/context';
import { bytes } from '../format';
import type { FileSource, Piece } from '../files/source';

/** In bytes, of what is fetched when somebody wants to read on. */
const NEXT = 256 * 1024;
/** A page with more text than this is no fun in any browser. */
const MOST = 4 * 1024 * 1024;

/** A file's beginning as text, exactly as it is: nothing of it is run or laid out. */
export function TextView(props: { source: FileSource; path: string; start: Piece }): JSX.Element {
  const { source, path, start } = props;
  const trans = useTrans();
  const [pieces, setPieces] = useState([start.bytes]);
  const shown = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const more = useAction(async () => {
    const piece = await source.read(path, shown, NEXT);
    setPieces(before => [...before, piece.bytes]);
  });
  const text = useMemo(() => decoded(pieces), [pieces]);
  if (start.bytes.includes(0)) {
    return <p className="nbl-dim">{trans.__('This is not text; download it.')}</p>;
  }
  return (
    <>
      <pre className="nbl-text" tabIndex={0} aria-label={trans.__('Content')}>
        {text}
      </pre>
      {more.error && <ProblemBox error={more.error} />}
      {shown < start.size && (
        <div className="nbl-buttons">
          <span className="nbl-dim">{trans.__('The first %1 of %2.', bytes(shown), bytes(start.size))}</span>
          {shown < MOST && (
            <button
              type="button"
              className="nbl-button nbl-mod-small"
              disabled={more.busy}
              onClick={() => more.run()}
            >
              {trans.__('Show more')}
            </button>
          )}
        </div>
      )}
    </>
  );
}

/** Read bytes as UTF-8; a character that is cut in two at the end is left out. */
export function decoded(pieces: Uint8Array<ArrayBuffer>[]): string {
  const decoder = new TextDecoder();
  return pieces.map(piece => decoder.decode(piece, { stream: true })).join('');
}
