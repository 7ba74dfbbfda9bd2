import React from 'react';

import type { DatasetVersion, Tag } from '../../api/types';
import { Age, CopyButton } from '../../components/basics';
import { useServices, useTrans } from '../../components/context';
import { Empty } from '../../components/empty';
import { Rows } from '../../components/rows';
import { bytes } from '../../format';
import { useResource } from '../../resource';
import { Part } from '../head';

interface Props {
  dataset: string;
  name: string;
  /** The 7 characters of the version that is looked at. */
  chosen: string | null;
  choose: (version: DatasetVersion) => void;
}

/** All versions of a dataset, the newest first. */
export function Timeline(props: Props): JSX.Element {
  const { store } = useServices();
  const trans = useTrans();
  const tags = useResource(store.datasetTags(props.dataset)).value?.items ?? [];
  return (
    <Part title={trans.__('Versions')}>
      <div className="nbl-timeline">
        <Rows
          resource={store.datasetVersions(props.dataset)}
          label={trans.__('Versions')}
          text={item => `${item.version} ${item.message} ${item.author} ${item.source}`}
          row={item => (
            <Moment
              key={item.version}
              version={item}
              tags={tags.filter(tag => tag.version === item.version)}
              chosen={item.version === props.chosen}
              choose={() => props.choose(item)}
            />
          )}
          empty={
            <Empty cli={`nablahub datasets put ${props.name} ./data -m "as downloaded"`} button={<></>}>
              {trans.__('No version has been committed yet. Drop files here, or put them from a terminal.')}
            </Empty>
          }
        />
      </div>
    </Part>
  );
}

function Moment(props: {
  version: DatasetVersion;
  tags: Tag[];
  chosen: boolean;
  choose: () => void;
}): JSX.Element {
  const { version, tags, chosen } = props;
  const trans = useTrans();
  return (
    <li className={`nbl-row nbl-moment${chosen ? ' nbl-mod-chosen' : ''}`}>
      <button type="button" className="nbl-row-main" aria-pressed={chosen} onClick={props.choose}>
        <span className="nbl-row-text">
          <span className="nbl-row-name">
            <span className="nbl-dim">{`#${version.number} `}</span>
            {version.message || trans.__('(no message)')}
          </span>
          {tags.length > 0 && (
            <span className="nbl-tags">
              {tags.map(({ name }) => (
                <span key={name} className="nbl-tag" title={trans.__('Tag %1', name)}>
                  {name}
                </span>
              ))}
            </span>
          )}
          <span className="nbl-row-line nbl-dim">
            {version.author} · <Age moment={version.created_at} /> · {version.source}
          </span>
          <span className="nbl-row-line nbl-dim">
            {version.version} · {trans._n('%1 file', '%1 files', version.files)} · {bytes(version.bytes)}
          </span>
        </span>
      </button>
      <CopyButton text={version.ref} label={trans.__('Copy the reference %1', version.ref)} />
    </li>
  );
}
