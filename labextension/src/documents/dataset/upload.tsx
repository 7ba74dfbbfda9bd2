import React, { useId, useRef, useSyncExternalStore } from 'react';

import type { Dataset } from '../../api/types';
import { ProblemBox } from '../../components/basics';
import { useTrans } from '../../components/context';
import { bytes } from '../../format';
import { picked } from '../../upload/items';
import type { DatasetUpload, UploadSnapshot } from '../../upload/manager';
import { Progress } from './progress';

/** Buttons that choose files or a folder to be put into a new version. */
export function UploadButtons(props: { upload: DatasetUpload }): JSX.Element {
  const { upload } = props;
  const trans = useTrans();
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const { state } = useSyncExternalStore(upload.subscribe, upload.snapshot);
  const busy = state === 'sending' || state === 'committing';
  const chosen = (event: React.ChangeEvent<HTMLInputElement>): void => {
    upload.choose(picked(event.target.files ?? new DataTransfer().files));
    event.target.value = ''; // the same files can be chosen again
  };
  return (
    <>
      <button type="button" className="nbl-button" disabled={busy} onClick={() => files.current?.click()}>
        {trans.__('Add files')}
      </button>
      <button type="button" className="nbl-button" disabled={busy} onClick={() => folder.current?.click()}>
        {trans.__('Add a folder')}
      </button>
      <input ref={files} type="file" multiple hidden aria-label={trans.__('Files')} onChange={chosen} />
      <input
        ref={folder}
        type="file"
        hidden
        aria-label={trans.__('Folder')}
        onChange={chosen}
        {...{ webkitdirectory: '' }}
      />
    </>
  );
}

/** What is about to be sent, how far it is, and what came of it. */
export function UploadPart(props: {
  upload: DatasetUpload;
  dataset: Dataset;
  made: () => void;
}): JSX.Element | null {
  const { upload } = props;
  const trans = useTrans();
  const now = useSyncExternalStore(upload.subscribe, upload.snapshot);
  switch (now.state) {
    case 'idle':
      return now.unfinished && <Unfinished upload={upload} now={now} />;
    case 'chosen':
      return <Chosen {...props} now={now} />;
    case 'sending':
    case 'committing':
      return <Progress upload={upload} now={now} />;
    case 'clash':
      return (
        <section className="nbl-upload" aria-label={trans.__('Upload')}>
          {now.error && <ProblemBox error={now.error} />}
          <div className="nbl-buttons">
            <button type="button" className="nbl-button nbl-mod-warn" onClick={() => void upload.override()}>
              {trans.__('Put my files in place of theirs')}
            </button>
            <button type="button" className="nbl-button" onClick={() => void upload.cancel()}>
              {trans.__('Keep theirs')}
            </button>
          </div>
        </section>
      );
    case 'failed':
      return (
        <section className="nbl-upload" aria-label={trans.__('Upload')}>
          {now.error && (
            <ProblemBox error={now.error} retry={() => void upload.start()} label={trans.__('Go on')} />
          )}
          <button type="button" className="nbl-button" onClick={() => void upload.cancel()}>
            {trans.__('Give up')}
          </button>
        </section>
      );
    case 'done':
      return (
        <section className="nbl-upload" aria-label={trans.__('Upload')}>
          <div className="nbl-buttons" role="status">
            <span>
              {trans.__('Version %1 has been committed:', now.made?.version)}{' '}
              {trans._n('%1 file', '%1 files', now.made?.files ?? 0)}, {bytes(now.made?.bytes ?? 0)}.
            </span>
            <button
              type="button"
              className="nbl-button"
              onClick={() => {
                upload.dismiss();
                props.made();
              }}
            >
              {trans.__('Show it')}
            </button>
          </div>
        </section>
      );
  }
}

function Chosen(props: { upload: DatasetUpload; dataset: Dataset; now: UploadSnapshot }): JSX.Element {
  const { upload, dataset, now } = props;
  const trans = useTrans();
  const id = useId();
  const { items } = now;
  const size = bytes(items.reduce((sum, { file }) => sum + file.size, 0));
  const names = items.slice(0, 3).map(({ path }) => path);
  return (
    <form
      className="nbl-upload"
      aria-label={trans.__('Upload')}
      onSubmit={event => {
        event.preventDefault();
        void upload.start();
      }}
    >
      <h2>{trans._n('%1 file for a new version', '%1 files for a new version', items.length)}</h2>
      <p className="nbl-dim">
        {names.join(', ')}
        {items.length > 3 && ' …'} · {size}
        {dataset.latest_version &&
          ` · ${trans.__('all other files stay as they are in %1', dataset.latest_version.version)}`}
      </p>
      <div className="nbl-upload-fields">
        <label htmlFor={`${id}m`}>{trans.__('What is new')}</label>
        <input
          id={`${id}m`}
          className="nbl-input"
          autoFocus
          maxLength={2000}
          placeholder={trans.__('A message for the version')}
          value={now.message}
          onChange={event => upload.change({ message: event.target.value })}
        />
        <label htmlFor={`${id}f`}>{trans.__('Into the folder')}</label>
        <input
          id={`${id}f`}
          className="nbl-input"
          placeholder={trans.__('The top folder')}
          value={now.folder}
          onChange={event => upload.change({ folder: event.target.value })}
        />
      </div>
      <div className="nbl-buttons">
        <button type="submit" className="nbl-button nbl-mod-main">
          {now.unfinished ? trans.__('Go on') : trans.__('Upload and commit')}
        </button>
        <button type="button" className="nbl-button" onClick={() => upload.dismiss()}>
          {trans.__('Cancel')}
        </button>
      </div>
    </form>
  );
}

function Unfinished(props: { upload: DatasetUpload; now: UploadSnapshot }): JSX.Element {
  const { upload, now } = props;
  const trans = useTrans();
  const { files = 0, bytes: size = 0, message = '' } = now.unfinished ?? {};
  return (
    <section className="nbl-upload" aria-label={trans.__('Upload')}>
      <p>
        {message
          ? trans.__('The upload “%1” of %2 files (%3) was cut off.', message, files, bytes(size))
          : trans.__('An upload of %1 files (%2) was cut off.', files, bytes(size))}{' '}
        {trans.__('Drop or choose the same files again: only what is missing will be sent.')}
      </p>
      <button type="button" className="nbl-button" onClick={() => void upload.cancel()}>
        {trans.__('Forget it')}
      </button>
    </section>
  );
}
