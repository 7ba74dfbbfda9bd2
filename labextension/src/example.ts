import type { Client } from './api/client';
import type { Workflow } from './api/types';

const EXAMPLE = `jobs:
  hello:
    resources:
      instance-type: C4
    uses: script@v1
    with:
      script: |-
        echo "Hello from a job"
        date
`;

/** Make a small workflow to start from. */
export function newExample(client: Client, project: string): Promise<Workflow> {
  return client.post<Workflow>('workflows', { project, name: 'hello', spec: EXAMPLE });
}
