import React, { lazy, Suspense } from 'react';

import { CopyButton, Loading, ProblemBox } from '../components/basics';
import { useTrans } from '../components/context';
import { bytes } from '../format';
import { type FileSource, nameOf, type Piece } from '../files/source';
import { type Kind, kindOf } from './kind';
import { Picture, Sound, Vector } from './media';
import { TextView } from './text';
import { useLoaded } from './use-loaded';

// Tables bring libraries along: they come when the first table is looked at.
const CsvTable = lazy(() => import('./csv'));
const ParquetTable = lazy(() => import('./parquet'));

/** Of a file, in bytes, that is read to look at its beginning. */
const START = 256 * 1024;

interface Props {
  source: FileSource;
  path: string | null;
  reference?: (path: string) => string;
}

/** A look at one file, with its facts and a way to have it. */
export function Preview(props: Props): JSX.Element {
  const { path } = props;
  const trans = useTrans();
  if (path === null) {
    return (
      <section className="nbl-preview nbl-mod-empty" aria-label={trans.__('Preview')}>
        <p className="nbl-dim">{trans.__('Choose a file to look at it.')}</p>
      </section>
    );
  }
  return <Shown {...props} path={path} />;
}

function Shown(props: Props & { path: string }): JSX.Element {
  const { source, path, reference } = props;
  const trans = useTrans();
  const kind = kindOf(path);
  // One byte tells the size where the bytes themselves are fetched by the browser.
  const wanted = kind.kind === 'text' || kind.kind === 'csv' || kind.kind === 'svg' ? START : 1;
  const { value, error, again } = useLoaded(signal => source.read(path, 0, wanted, signal), [source, path]);
  const name = nameOf(path);
  return (
    <section className="nbl-preview" aria-label={trans.__('Preview of %1', name)}>
      <div className="nbl-preview-head">
        <h3 title={path}>{name}</h3>
        <span className="nbl-dim">
          {value && `${bytes(value.size)} · `}
          {kind.type}
        </span>
        <span className="nbl-grow" />
        {reference && (
          <CopyButton text={reference(path)} label={reference(path)}>
            {trans.__('Copy reference')}
          </CopyButton>
        )}
        <a className="nbl-button nbl-mod-small" href={source.address(path, true)} download={name}>
          {trans.__('Download')}
        </a>
      </div>
      <div className="nbl-preview-body">
        {error ? (
          <ProblemBox error={error} retry={again} />
        ) : value === undefined ? (
          <Loading />
        ) : (
          <Suspense fallback={<Loading />}>
            <Body source={source} path={path} kind={kind} start={value} />
          </Suspense>
        )}
      </div>
    </section>
  );
}

function Body(props: { source: FileSource; path: string; kind: Kind; start: Piece }): JSX.Element {
  const { source, path, kind, start } = props;
  const trans = useTrans();
  if (start.size === 0) {
    return <p className="nbl-dim">{trans.__('The file is empty.')}</p>;
  }
  const address = source.address(path);
  switch (kind.kind) {
    case 'image':
      return <Picture address={address} name={nameOf(path)} />;
    case 'svg':
      return <Vector start={start} name={nameOf(path)} />;
    case 'audio':
    case 'video':
      return <Sound address={address} name={nameOf(path)} video={kind.kind === 'video'} />;
    case 'csv':
      return <CsvTable start={start} />;
    case 'parquet':
      return <ParquetTable source={source} path={path} size={start.size} />;
    case 'text':
      return <TextView source={source} path={path} start={start} />;
    case 'none':
      return <p className="nbl-dim">{trans.__('There is no preview of files of this kind; download it.')}</p>;
  }
}
