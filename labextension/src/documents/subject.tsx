import React from 'react';

import { Loading, ProblemBox } from '../components/basics';
import { type Resource, useResource } from '../resource';

/** Show a thing once it is known; say so when it is not, and keep showing it when news fail. */
export function Subject<T>(props: {
  resource: Resource<T>;
  children: (value: T) => React.ReactNode;
}): JSX.Element {
  const { value, error } = useResource(props.resource);
  const retry = (): void => void props.resource.refresh();
  if (value === undefined) {
    return error ? <ProblemBox error={error} retry={retry} /> : <Loading />;
  }
  return (
    <>
      {error && <ProblemBox error={error} retry={retry} />}
      {props.children(value)}
    </>
  );
}
