import { structuredPatch } from 'diff';
import React, { useMemo } from 'react';

import type { FileChange } from '../../api/types';
import { Loading, ProblemBox } from '../../components/basics';
import { useServices, useTrans } from '../../components/context';
import { VersionSource } from '../../files/source';
import { useLoaded } from '../../preview/use-loaded';

/** Texts up to this size in bytes are compared. */
const MOST = 512 * 1024;
/** Lines around a change that are shown as well. */
const AROUND = 3;

/** What changed in a file, when it is text of a size that can be compared. */
export default function TextDiff(props: {
  dataset: string;
  old: string;
  version: string;
  change: FileChange;
}): JSX.Element {
  const { dataset, old, version, change } = props;
  const { store } = useServices();
  const trans = useTrans();
  const large = Math.max(change.size ?? 0, change.old_size ?? 0) > MOST;
  const { value, error, again } = useLoaded(async signal => {
    const read = async (of: string, size: number | null): Promise<Uint8Array> => {
      if (size === null || large) {
        return new Uint8Array();
      }
      return (await new VersionSource(store.client, dataset, of).read(change.path, 0, size, signal)).bytes;
    };
    return Promise.all([read(old, change.old_size), read(version, change.size)]);
  }, [change]);
  const hunks = useMemo(() => {
    if (!value || value.some(bytes => bytes.includes(0))) {
      return null;
    }
    const [before, after] = value.map(bytes => new TextDecoder().decode(bytes));
    return structuredPatch('', '', before!, after!, '', '', { context: AROUND, timeout: 2000 })?.hunks ?? null;
  }, [value]);
  if (error) {
    return <ProblemBox error={error} retry={again} />;
  }
  if (!value) {
    return <Loading />;
  }
  if (large || hunks === null) {
    return (
      <p className="nbl-dim nbl-note">
        {large
          ? trans.__('This file is too large to be compared line by line.')
          : trans.__('This file is not text, so there are no lines to compare.')}
      </p>
    );
  }
  return (
    <pre className="nbl-text nbl-text-diff" tabIndex={0} aria-label={trans.__('Changes in %1', change.path)}>
      {hunks.map((hunk, index) => (
        <React.Fragment key={index}>
          <span className="nbl-dim">{`@@ −${hunk.oldStart},${hunk.oldLines} +${hunk.newStart},${hunk.newLines} @@\n`}</span>
          {hunk.lines.map((line, number) => (
            <span key={number} className={`nbl-line${line[0] === '+' ? ' nbl-mod-added' : line[0] === '-' ? ' nbl-mod-removed' : ''}`}>
              {`${line}\n`}
            </span>
          ))}
        </React.Fragment>
      ))}
    </pre>
  );
}
