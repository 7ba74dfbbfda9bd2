import {
  ILayoutRestorer,
  JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, WidgetTracker } from '@jupyterlab/apputils';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Client } from './api/client';
import { addCommands } from './commands';
import type { Services } from './components/context';
import type { Document } from './documents/document';
import { watchLimits } from './limits';
import { format, take } from './links';
import { NablaPanel } from './sidebar/panel';
import { Store } from './store';

const ID = '@nablahub/lab:plugin';
const CHOSEN = '@nablahub/lab:project';

/** The NablaHub panel and its documents. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Projects, runs, datasets, models and deployments of NablaHub.',
  autoStart: true,
  optional: [ITranslator, ICommandPalette, ILayoutRestorer, IStateDB],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    state: IStateDB | null
  ) => {
    const settings = app.serviceManager.serverSettings;
    const store = new Store(new Client(settings));
    const services: Services = {
      store,
      trans: (translator ?? nullTranslator).load('nablahub'),
      baseUrl: settings.baseUrl,
      open: target => void app.commands.execute('nablahub:open', { target: format(target) }),
      execute: (command, args) => app.commands.execute(command, args)
    };
    const tracker = new WidgetTracker<Document>({ namespace: 'nablahub' });
    addCommands(app, services, tracker, palette);

    const panel = new NablaPanel(services);
    restorer?.add(panel, panel.id);
    app.shell.add(panel, 'left', { rank: 150, type: 'NablaHub' });
    void restorer?.restore(tracker, {
      command: 'nablahub:open',
      args: ({ target }) => ({ target: format(target), activate: false }),
      name: ({ target }) => format(target)
    });

    void remember(store, state);
    watchLimits(app, services.trans);
    const linked = take();
    void app.restored.then(() => {
      if (linked) {
        app.shell.activateById(panel.id);
        services.open(linked);
      }
    });
  }
};

/** Keep the chosen project over a reload. */
async function remember(store: Store, state: IStateDB | null): Promise<void> {
  const known = await state?.fetch(CHOSEN);
  if (typeof known === 'string' && !store.project) {
    store.project = known;
  }
  store.projectChanged.connect((_, id) => void state?.save(CHOSEN, id));
}

export default plugin;
