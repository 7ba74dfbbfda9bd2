import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

/** A moment at which the hub will stop this server, as the server tells it. */
interface Stop {
  reason: 'longest_run' | 'idle';
  at: string;
  seconds_left: number;
  limit_seconds: number;
  instance_type: string;
  near: boolean;
}

const EVERY = 60_000;
const SOONEST = 1_000;

/** Tells the user in time that the hub is going to stop this server, and what becomes of what. */
export class LimitsNotice {
  constructor(
    private readonly _settings: ServerConnection.ISettings,
    private readonly _trans: TranslationBundle
  ) {}

  /** Look now, and again whenever there could be news. */
  start(): void {
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) {
        void this._look();
      }
    });
    void this._look();
  }

  private async _look(method: 'GET' | 'POST' = 'GET'): Promise<void> {
    window.clearTimeout(this._timer);
    let stops: Stop[] | null = null;
    try {
      const url = URLExt.join(this._settings.baseUrl, 'nablahub', 'limits');
      const answer = await ServerConnection.makeRequest(url, { method }, this._settings);
      if (!answer.ok) {
        return; // A server without our extension: nobody there knows.
      }
      ({ stops } = (await answer.json()) as { stops: Stop[] });
      this._show(stops.find(stop => stop.near) ?? null);
    } catch {
      // Lab itself tells that its server does not answer.
    }
    if (stops?.length === 0) {
      return; // It has no limits, and gets none while it runs.
    }
    const half = Math.min(...(stops ?? []).map(stop => (stop.seconds_left * 1000) / 2), EVERY);
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this._look(), Math.max(half, SOONEST));
  }

  private _show(stop: Stop | null): void {
    if (stop?.at === this._shown?.at && stop?.reason === this._shown?.reason) {
      return;
    }
    this._shown = stop;
    Notification.dismiss(this._id);
    this._id = '';
    if (stop) {
      const idle = stop.reason === 'idle';
      const keep = {
        label: this._trans.__('Keep it running'),
        callback: () => void this._look('POST')
      };
      this._id = Notification.warning(this._words(stop), {
        autoClose: false,
        actions: idle ? [keep] : []
      });
    }
  }

  /** Short: Lab cuts off what is longer than 140 characters. */
  private _words(stop: Stop): string {
    const at = new Date(stop.at).toLocaleTimeString(undefined, { timeStyle: 'short' });
    const limit = this._length(stop.limit_seconds);
    const kept = this._trans.__('Saved files are kept; kernels and terminals end.');
    const what =
      stop.reason === 'idle'
        ? this._trans.__('This server stops at %1 unless it is used (limit: %2).', at, limit)
        : this._trans.__(
            'This server stops at %1, after %2: the longest run of %3.',
            at,
            limit,
            stop.instance_type
          );
    return `${what} ${kept}`;
  }

  private _length(seconds: number): string {
    if (seconds < 120) {
      return this._trans.__('%1 seconds', Math.round(seconds));
    }
    const minutes = Math.round(seconds / 60);
    return minutes < 120
      ? this._trans.__('%1 minutes', minutes)
      : this._trans.__('%1 hours', Math.round(minutes / 6) / 10);
  }

  private _timer = 0;
  private _id = '';
  private _shown: Stop | null = null;
}

/** Begin once Lab has come up, which is what people wait for. */
export function watchLimits(app: JupyterFrontEnd, trans: TranslationBundle): void {
  const notice = new LimitsNotice(app.serviceManager.serverSettings, trans);
  void app.restored.then(() => notice.start());
}
