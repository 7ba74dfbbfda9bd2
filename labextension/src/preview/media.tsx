import React, { useMemo, useState } from 'react';

import { useTrans } from '../components/context';
import type { Piece } from '../files/source';

/** A picture; a browser runs nothing that is in one. */
export function Picture(props: { address: string; name: string }): JSX.Element {
  const trans = useTrans();
  const [size, setSize] = useState('');
  const [failed, setFailed] = useState(false);
  if (failed) {
    return <p className="nbl-dim">{trans.__('The browser cannot show this picture; download it.')}</p>;
  }
  return (
    <figure className="nbl-picture">
      <img
        src={props.address}
        alt={props.name}
        onError={() => setFailed(true)}
        onLoad={event => {
          const { naturalWidth, naturalHeight } = event.currentTarget;
          setSize(trans.__('%1 × %2 pixels', naturalWidth, naturalHeight));
        }}
      />
      <figcaption className="nbl-dim">{size}</figcaption>
    </figure>
  );
}

/**
 * A drawing, as a picture.
 *
 * By a `data:` address, not by a `blob:` one: opened in a tab of its own, a blob would run its
 * scripts as this page, while data has no rights anywhere.
 */
export function Vector(props: { start: Piece; name: string }): JSX.Element {
  const trans = useTrans();
  const { start, name } = props;
  const address = useMemo(() => {
    const text = new TextDecoder().decode(start.bytes);
    return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  }, [start]);
  if (start.bytes.length < start.size) {
    return <p className="nbl-dim">{trans.__('This drawing is too large to be shown here; download it.')}</p>;
  }
  return <Picture address={address} name={name} />;
}

/** Sound or film; the browser fetches the parts that are played. */
export function Sound(props: { address: string; name: string; video: boolean }): JSX.Element {
  const trans = useTrans();
  const [failed, setFailed] = useState(false);
  if (failed) {
    return <p className="nbl-dim">{trans.__('The browser cannot play this file; download it.')}</p>;
  }
  const shared = {
    src: props.address,
    controls: true,
    preload: 'metadata',
    'aria-label': props.name,
    onError: () => setFailed(true)
  };
  return props.video ? <video className="nbl-video" {...shared} /> : <audio className="nbl-audio" {...shared} />;
}
