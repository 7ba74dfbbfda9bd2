import React from 'react';

import { useTrans } from '../../components/context';
import { bytes } from '../../format';
import type { DatasetUpload, UploadSnapshot } from '../../upload/manager';

/** Before so many milliseconds a rate says nothing. */
const SETTLED = 2000;

/** How far an upload is, with its rate and the time that is left; it can be cancelled. */
export function Progress(props: { upload: DatasetUpload; now: UploadSnapshot }): JSX.Element {
  const { upload, now } = props;
  const trans = useTrans();
  const { total, sent, read, state, waiting } = now;
  const elapsed = Date.now() - now.since;
  const rate = elapsed > SETTLED ? (sent / elapsed) * 1000 : 0;
  const left = rate > 0 ? Math.ceil((total - sent) / rate) : 0;
  const step =
    state === 'committing'
      ? trans.__('Committing…')
      : waiting
        ? trans.__('The connection is broken; it goes on by itself when it is back.')
        : sent === 0 && read < total
          ? trans.__('Reading… %1 of %2', bytes(read), bytes(total))
          : trans.__('%1 of %2 are there', bytes(sent), bytes(total));
  return (
    <section className="nbl-upload" aria-label={trans.__('Upload')}>
      <div className="nbl-upload-line">
        <span role="status">{step}</span>
        <span className="nbl-grow" />
        {state === 'sending' && rate > 0 && !waiting && (
          <span className="nbl-dim">{trans.__('%1/s, %2 left', bytes(rate), lasting(left))}</span>
        )}
        <button
          type="button"
          className="nbl-button nbl-mod-small"
          disabled={state === 'committing'}
          onClick={() => void upload.cancel()}
        >
          {trans.__('Cancel')}
        </button>
      </div>
      <progress
        className="nbl-progress"
        aria-label={trans.__('Upload')}
        max={total || 1}
        {...(state === 'sending' && { value: sent || read / 100 })}
      />
      <p className="nbl-dim nbl-note">
        {trans.__('You can close this tab of Lab; the upload goes on as long as the page is open.')}
      </p>
    </section>
  );
}

function lasting(seconds: number): string {
  return seconds < 60 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
