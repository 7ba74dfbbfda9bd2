import React from 'react';

import { Code } from './basics';
import { useServices, useTrans } from './context';

interface Props {
  /** One sentence that says what would be here. */
  children: React.ReactNode;
  /** The first step as a command line. */
  cli: string;
  /** The button that takes the first step; a terminal to take it in when there is none. */
  button?: React.ReactNode;
}

/** What an empty list says: the first step, by a button and by a command line. */
export function Empty(props: Props): JSX.Element {
  const { execute } = useServices();
  const trans = useTrans();
  return (
    <div className="nbl-empty">
      <p>{props.children}</p>
      {props.button ?? (
        <button
          type="button"
          className="nbl-button"
          onClick={() => void execute('terminal:create-new')}
        >
          {trans.__('Open a terminal')}
        </button>
      )}
      <Code text={props.cli} label={trans.__('Copy the command')} />
    </div>
  );
}
