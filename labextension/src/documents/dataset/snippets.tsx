import React from 'react';

import { CopyButton } from '../../components/basics';
import { useTrans } from '../../components/context';

/** How to use a version from everywhere else. */
export function Snippets(props: { name: string; reference: string }): JSX.Element {
  const { name, reference } = props;
  const trans = useTrans();
  const forms: [string, string][] = [
    [trans.__('Command line'), `nablahub datasets get ${reference} ./${name}`],
    [
      'Python',
      `import nablahub\n\nhub = nablahub.connect()\nhub.datasets.download("${reference}", "${name}")`
    ],
    [
      trans.__('Notebook: mount it, read only'),
      `%load_ext nablahub\n%nabla mount ${reference}`
    ],
    [
      'pandas',
      `import pandas as pd  # with nablahub[files]\n\nframe = pd.read_csv("nabla://${reference}/data.csv")`
    ],
    [
      trans.__('Input of a job in a workflow'),
      `inputs:\n  data:\n    type: dataset\n    with: {ref: "${reference}"}`
    ],
    ['DVC', `nablahub datasets export-dvc ${reference} --repo .\ndvc pull ${name}.dvc`]
  ];
  return (
    <div className="nbl-snippets">
      {forms.map(([title, text]) => (
        <section key={title} aria-label={title}>
          <h3>{title}</h3>
          <div className="nbl-code">
            <pre>
              <code>{text}</code>
            </pre>
            <CopyButton text={text} label={trans.__('Copy: %1', title)} />
          </div>
        </section>
      ))}
    </div>
  );
}
