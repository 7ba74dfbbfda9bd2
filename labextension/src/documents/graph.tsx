import React from 'react';

import type { RunJob } from '../api/types';
import { useTrans } from '../components/context';
import { StateMark } from '../components/state';

/** What has a place in a graph of jobs. */
type Step = Pick<RunJob, 'name' | 'needs'>;

/** Show how far from the first job a row's job is. */
export function indent(depth: number): React.CSSProperties {
  return { paddingInlineStart: `${Math.min(depth, 6) * 14}px` };
}

/** Order jobs so that each comes after those it needs, with its distance from the first. */
export function ordered<J extends Step>(jobs: J[]): { job: J; depth: number }[] {
  const byName = new Map(jobs.map(job => [job.name, job]));
  const depths = new Map<string, number>();
  const depth = (job: J): number => {
    const known = depths.get(job.name);
    if (known !== undefined) {
      return known;
    }
    depths.set(job.name, 0); // ends a cycle, which the service refuses anyway
    const before = job.needs.map(name => byName.get(name)).filter(found => found !== undefined);
    const found = before.length ? 1 + Math.max(...before.map(depth)) : 0;
    depths.set(job.name, found);
    return found;
  };
  return jobs
    .map(job => ({ job, depth: depth(job) }))
    .sort((one, other) => one.depth - other.depth);
}

/** The jobs of a run in the order they can run, with what each needs and its state. */
export function Graph(props: {
  jobs: RunJob[];
  chosen: string;
  choose: (name: string) => void;
}): JSX.Element {
  const trans = useTrans();
  return (
    <ol className="nbl-rows nbl-graph" aria-label={trans.__('Jobs')}>
      {ordered(props.jobs).map(({ job, depth }) => (
        <li
          key={job.name}
          className={`nbl-row${job.name === props.chosen ? ' nbl-mod-chosen' : ''}`}
          style={indent(depth)}
        >
          <button
            type="button"
            className="nbl-row-main"
            aria-pressed={job.name === props.chosen}
            onClick={() => props.choose(job.name)}
          >
            <span className="nbl-row-text">
              <span className="nbl-row-name">{job.name}</span>
              <span className="nbl-row-line nbl-dim">
                {job.action}
                {job.needs.length > 0 && ` · ${trans.__('needs %1', job.needs.join(', '))}`}
              </span>
            </span>
            <StateMark state={job.state} reason={job.reason} />
          </button>
        </li>
      ))}
    </ol>
  );
}
