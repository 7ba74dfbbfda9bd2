import type { TranslationBundle } from '@jupyterlab/translation';
import { nullTranslator } from '@jupyterlab/translation';
import { createContext, useContext, useEffect, useState } from 'react';

import type { Target } from '../links';
import type { Store } from '../store';

/** What every view may use. */
export interface Services {
  store: Store;
  trans: TranslationBundle;
  /** This Jupyter server's address. */
  baseUrl: string;
  /** Open a thing's document. */
  open: (target: Target) => void;
  /** Run one of the panel's commands. */
  execute: (command: string, args?: Record<string, string | number>) => Promise<unknown>;
}

export const ServicesContext = createContext<Services | null>(null);

export function useServices(): Services {
  const services = useContext(ServicesContext);
  if (!services) {
    throw new Error('A NablaHub view was rendered outside its services');
  }
  return services;
}

export function useTrans(): TranslationBundle {
  return useContext(ServicesContext)?.trans ?? nullTranslator.load('nablahub');
}

/** The project of the views below, where it is not the chosen one. */
export const ProjectContext = createContext<string | null>(null);

/** The project to show: the views' own, else the chosen one; renders again when it changes. */
export function useProject(): string {
  const { store } = useServices();
  const own = useContext(ProjectContext);
  const [project, setProject] = useState(store.project);
  useEffect(() => {
    const changed = (_: unknown, id: string): void => setProject(id);
    setProject(store.project);
    store.projectChanged.connect(changed);
    return () => {
      store.projectChanged.disconnect(changed);
    };
  }, [store]);
  return own ?? project;
}
