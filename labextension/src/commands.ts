import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette, WidgetTracker } from '@jupyterlab/apputils';
import { Notification } from '@jupyterlab/apputils';
import type { Contents } from '@jupyterlab/services';
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { Deployment, Run } from './api/types';
import type { Services } from './components/context';
import { Document } from './documents/document';
import { nablaIcon } from './icons';
import { address, parse, type Target } from './links';

/** Folder in the user's files into which executed notebooks are copied to be opened. */
const NOTEBOOKS = 'Executed notebooks';

/** Register every action of the panel as a command; buttons, menus and the palette share them. */
export function addCommands(
  app: JupyterFrontEnd,
  services: Services,
  tracker: WidgetTracker<Document>,
  palette: ICommandPalette | null
): void {
  const { commands } = app;
  const { store, trans } = services;

  commands.addCommand('nablahub:open', {
    label: trans.__('Open'),
    describedBy: describe({ target: 'string', activate: 'boolean' }),
    execute: args => {
      const target = parse(String(args['target'] ?? '')) ?? underMouse(app) ?? currentTarget(tracker);
      if (target) {
        // A layout that is being restored knows itself which of its tabs is in front.
        show(app, services, tracker, target, args['activate'] !== false);
      }
    }
  });
  commands.addCommand('nablahub:open-project', {
    label: trans.__('Open the Project’s Page'),
    icon: nablaIcon,
    isEnabled: () => store.project !== '',
    execute: () => services.open({ kind: 'project', id: store.project })
  });
  commands.addCommand('nablahub:show-panel', {
    label: trans.__('NablaHub'),
    caption: trans.__('Show the NablaHub panel'),
    icon: nablaIcon,
    execute: () => app.shell.activateById('nablahub-panel')
  });
  commands.addCommand('nablahub:refresh', {
    label: trans.__('Read Everything Again'),
    execute: () => store.refresh()
  });
  commands.addCommand('nablahub:copy-link', {
    label: trans.__('Copy Link'),
    isEnabled: () => (underMouse(app) ?? currentTarget(tracker)) !== null,
    execute: () => {
      const target = underMouse(app) ?? currentTarget(tracker);
      return target && navigator.clipboard.writeText(address(target, services.baseUrl));
    }
  });
  addRunCommands(app, services, tracker);
  commands.addCommand('nablahub:enable-deployment', {
    label: trans.__('Start or Stop a Deployment'),
    describedBy: describe({ deployment: 'string', revision: 'number', enabled: 'number' }),
    execute: async args => {
      const path = `deployments/${String(args['deployment'])}`;
      const change = { enabled: args['enabled'] === 1 };
      await store.client.patch<Deployment>(path, change, Number(args['revision']));
      await store.deployment(String(args['deployment'])).refresh();
    }
  });
  commands.addCommand('nablahub:open-notebook', {
    label: trans.__('Open an Executed Notebook'),
    describedBy: describe({ path: 'string', name: 'string' }),
    execute: async args => openNotebook(app, services, String(args['path']), String(args['name']))
  });

  for (const command of ['nablahub:show-panel', 'nablahub:open-project', 'nablahub:run-again', 'nablahub:cancel-run', 'nablahub:refresh']) {
    palette?.addItem({ command, category: 'NablaHub' });
  }
  const rows = '.nbl-row[data-nablahub]';
  app.contextMenu.addItem({ command: 'nablahub:open', selector: rows, rank: 1 });
  app.contextMenu.addItem({ command: 'nablahub:copy-link', selector: rows, rank: 2 });
  const runs = '.nbl-row[data-nablahub^="run:"]';
  app.contextMenu.addItem({ command: 'nablahub:run-again', selector: runs, rank: 3 });
  app.contextMenu.addItem({ command: 'nablahub:cancel-run', selector: runs, rank: 4 });
}

function addRunCommands(
  app: JupyterFrontEnd,
  services: Services,
  tracker: WidgetTracker<Document>
): void {
  const { store, trans } = services;
  // A run is named by the button that was pressed, the row under the mouse, or the open tab.
  const runOf = (args: ReadonlyPartialJSONObject): [string, number] | null => {
    if (args['workflow'] && args['number']) {
      return [String(args['workflow']), Number(args['number'])];
    }
    const target = underMouse(app) ?? currentTarget(tracker);
    const [workflow, number] = target?.kind === 'run' ? target.id.split('/') : [];
    return workflow ? [workflow, Number(number)] : null;
  };
  const start = async (workflow: string, inputs: Record<string, unknown>): Promise<void> => {
    const run = await store.client.post<Run>(`workflows/${workflow}/runs`, { inputs });
    services.open({ kind: 'run', id: `${workflow}/${run.number}` });
  };
  const fromMenu = async (action: Promise<unknown>, args: ReadonlyPartialJSONObject): Promise<void> => {
    try {
      await action;
    } catch (error) {
      if (args['number']) {
        throw error; // a button's: it shows the error beside itself
      }
      Notification.error(error instanceof Error ? error.message : String(error));
    }
  };
  app.commands.addCommand('nablahub:start-run', {
    label: trans.__('Run a Workflow'),
    describedBy: describe({ workflow: 'string', inputs: 'string' }),
    execute: args =>
      start(
        String(args['workflow']),
        JSON.parse(String(args['inputs'] ?? '{}')) as Record<string, unknown>
      )
  });
  app.commands.addCommand('nablahub:run-again', {
    label: trans.__('Run Again'),
    describedBy: describe({ workflow: 'string', number: 'number' }),
    isEnabled: args => runOf(args) !== null,
    execute: async args => {
      const [workflow, number] = runOf(args)!;
      const again = async (): Promise<void> => {
        const run = await store.client.get<Run>(`workflows/${workflow}/runs/${number}`);
        const inputs = Object.entries(run.inputs).map(([name, { ref, value }]) => [
          name,
          value === null ? { ref } : { value }
        ]);
        await start(workflow, Object.fromEntries(inputs) as Record<string, unknown>);
      };
      await fromMenu(again(), args);
    }
  });
  app.commands.addCommand('nablahub:cancel-run', {
    label: trans.__('Cancel the Run'),
    describedBy: describe({ workflow: 'string', number: 'number' }),
    isEnabled: args => runOf(args) !== null,
    execute: async args => {
      const [workflow, number] = runOf(args)!;
      await fromMenu(store.client.post(`workflows/${workflow}/runs/${number}/cancel`), args);
    }
  });
}

function show(
  app: JupyterFrontEnd,
  services: Services,
  tracker: WidgetTracker<Document>,
  target: Target,
  activate: boolean
): void {
  const id = Document.idOf(target);
  let widget = tracker.find(open => open.id === id);
  if (!widget) {
    widget = new Document(target, services);
    void tracker.add(widget);
    app.shell.add(widget, 'main', { activate });
  }
  if (activate) {
    app.shell.activateById(id);
  }
}

async function openNotebook(
  app: JupyterFrontEnd,
  { store }: Services,
  path: string,
  name: string
): Promise<void> {
  const response = await store.client.send('GET', path.replace(/^\//, ''));
  const content = (await response.json()) as unknown;
  const { contents } = app.serviceManager;
  const folder: Partial<Contents.IModel> = { type: 'directory', path: NOTEBOOKS };
  await contents.save(NOTEBOOKS, folder).catch(() => undefined); // is there already
  const file = `${NOTEBOOKS}/${name}`;
  await contents.save(file, { type: 'notebook', format: 'json', content });
  await app.commands.execute('docmanager:open', { path: file });
}

function underMouse(app: JupyterFrontEnd): Target | null {
  const node = app.contextMenuHitTest(element => element.dataset['nablahub'] !== undefined);
  return parse(node?.dataset['nablahub'] ?? '');
}

function currentTarget(tracker: WidgetTracker<Document>): Target | null {
  return tracker.currentWidget?.target ?? null;
}

function describe(properties: Record<string, string>): { args: ReadonlyJSONObject } {
  const typed = Object.entries(properties).map(([name, type]) => [name, { type }]);
  return { args: { type: 'object', properties: Object.fromEntries(typed) } };
}
