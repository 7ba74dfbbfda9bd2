import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

const plugin: JupyterFrontEndPlugin<void> = {
  id: '@nablahub/lab:plugin',
  autoStart: true,
  activate: (app: JupyterFrontEnd) => { void app; }
};
export default plugin;
