import React, { useEffect, useId, useMemo, useRef, useState } from 'react';

import { useTrans } from '../components/context';
import { Preview } from '../preview/pane';
import { TreeModel } from './model';
import { Found } from './search';
import type { FileSource } from './source';
import { Tree } from './tree';

interface Props {
  source: FileSource;
  label: string;
  /** A value that changes when the same files may have got other bytes. */
  state?: string;
  /** The reference of a file, to be copied. */
  reference?: (path: string) => string;
}

/** Files as a tree, a search in them, and a preview of the one that is chosen. */
export function FileBrowser(props: Props): JSX.Element {
  const { source } = props;
  const trans = useTrans();
  const [chosen, setChosen] = useState<string | null>(null);
  const [text, setText] = useState('');
  const id = useId();
  // The same files in another state keep what is unfolded; other files are another tree.
  const model = useMemo(() => new TreeModel(source), [source.key]);
  const shown = useRef(source);
  useEffect(() => {
    if (shown.current.key === source.key && shown.current !== source) {
      void model.replace(source);
    } else if (shown.current.key !== source.key) {
      setChosen(null);
    }
    shown.current = source;
  }, [model, source]);
  const wanted = text.trim();
  return (
    <div className="nbl-files">
      <div className="nbl-files-list">
        <label className="nbl-visually-hidden" htmlFor={id}>
          {trans.__('Find files by a part of their path')}
        </label>
        <input
          id={id}
          type="search"
          className="nbl-input"
          placeholder={trans.__('Find files by a part of their path')}
          value={text}
          onChange={event => setText(event.target.value)}
        />
        {wanted ? (
          <Found source={source} text={wanted} chosen={chosen} choose={setChosen} />
        ) : (
          <Tree model={model} label={props.label} chosen={chosen} choose={setChosen} />
        )}
      </div>
      <Preview
        key={`${source.key} ${chosen ?? ''} ${props.state ?? ''}`}
        source={source}
        path={chosen}
        {...(props.reference && { reference: props.reference })}
      />
    </div>
  );
}
