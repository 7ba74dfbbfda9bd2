import { LabIcon } from '@jupyterlab/ui-components';

/** Draw a 16×16 icon in the theme's colour for icons. */
function outline(name: string, body: string): LabIcon {
  return new LabIcon({
    name: `@nablahub/lab:${name}`,
    svgstr:
      '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16">' +
      '<g fill="none" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round">' +
      // The theme colours what has this class, by the attributes it has: so no fill beside it.
      `<g class="jp-icon3" stroke="#616161">${body}</g></g></svg>`
  });
}

/** ∇, the gradient operator. */
export const nablaIcon = new LabIcon({
  name: '@nablahub/lab:nabla',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16">' +
    '<path class="jp-icon3" fill="#616161" fill-rule="evenodd" ' +
    'd="M1 2h14L8 15zM4.6 4.2 8 10.7l3.5-6.5z"/></svg>'
});

export const projectIcon = outline('project', '<path d="M2 4.5h4l1.5 2H14v6.5H2z"/>');

export const runIcon = outline(
  'run',
  '<circle cx="3.5" cy="8" r="1.8"/><circle cx="12.5" cy="3.5" r="1.8"/>' +
    '<circle cx="12.5" cy="12.5" r="1.8"/><path d="M5.1 7.2 10.9 4.3M5.1 8.8l5.8 2.9"/>'
);

export const datasetIcon = outline(
  'dataset',
  '<ellipse cx="8" cy="3.8" rx="5.2" ry="2"/>' +
    '<path d="M2.8 3.8v8.4c0 1.1 2.3 2 5.2 2s5.2-.9 5.2-2V3.8M2.8 8c0 1.1 2.3 2 5.2 2s5.2-.9 5.2-2"/>'
);

export const modelIcon = outline(
  'model',
  '<path d="M8 1.8 13.6 5v6L8 14.2 2.4 11V5z"/><path d="M2.4 5 8 8.1 13.6 5M8 8.1v6.1"/>'
);

export const deploymentIcon = outline(
  'deployment',
  '<rect x="2.2" y="2.5" width="11.6" height="4.4" rx="1"/>' +
    '<rect x="2.2" y="9.1" width="11.6" height="4.4" rx="1"/><path d="M5 4.7h.01M5 11.3h.01"/>'
);
