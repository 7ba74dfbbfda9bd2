import { PromiseDelegate } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { ApiError, Client } from './client';
import { messages, Parser } from './sse';
import type { Change } from './types';

const FIRST_DELAY = 500;
const LONGEST_DELAY = 30_000;
/** The service says something at least every 15 s; a line that is silent for this long is dead. */
const SILENCE = 45_000;

export type Connection = 'connecting' | 'live' | 'lost';

/** The one connection on which changes arrive; it heals itself and misses nothing. */
export class EventStream implements IDisposable {
  constructor(private readonly _client: Client) {
    void this._run();
  }

  /** A change of something. */
  get changed(): ISignal<this, Change> {
    return this._changed;
  }

  /** The state of the connection. */
  get connectionChanged(): ISignal<this, Connection> {
    return this._connectionChanged;
  }

  get connection(): Connection {
    return this._connection;
  }

  /** Resolves when the stream has been opened, or could not be, for the first time. */
  get tried(): Promise<void> {
    return this._tried.promise;
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    this._disposed = true;
    this._abort.abort();
    this._wake?.();
    Signal.clearData(this);
  }

  /** Try again now instead of after the pause. */
  reconnect(): void {
    this._wake?.();
  }

  private async _run(): Promise<void> {
    let delay = FIRST_DELAY;
    while (!this._disposed) {
      try {
        await this._listen(() => {
          delay = FIRST_DELAY;
        });
      } catch (error) {
        if (this._disposed) {
          return;
        }
        if (error instanceof ApiError && !error.passing) {
          delay = LONGEST_DELAY; // refused: asking often would not help
        }
      }
      this._tried.resolve();
      if (this._disposed) {
        return;
      }
      this._set(this._connection === 'live' ? 'connecting' : 'lost');
      await this._pause(delay);
      delay = Math.min(delay * 2, LONGEST_DELAY);
    }
  }

  private async _listen(onOpen: () => void): Promise<void> {
    this._abort = new AbortController();
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (this._lastId) {
      headers['Last-Event-ID'] = this._lastId;
    }
    const signal = this._abort.signal;
    const response = await this._client.send('GET', 'events', { headers, signal });
    const parser = new Parser();
    let watchdog = 0;
    const heard = (): void => {
      window.clearTimeout(watchdog);
      watchdog = window.setTimeout(() => this._abort.abort(), SILENCE);
      // A stream begins by saying after which event, so that nothing is missed before the first.
      const after = /^listening after (\d+)$/.exec(parser.comment)?.[1];
      if (after && !this._lastId) {
        this._lastId = after;
      }
      if (this._connection !== 'live') {
        onOpen();
        this._set('live');
        this._tried.resolve();
      }
    };
    try {
      for await (const message of messages(response, parser, heard)) {
        this._lastId = message.id || this._lastId;
        this._changed.emit(JSON.parse(message.data) as Change);
      }
    } finally {
      window.clearTimeout(watchdog);
    }
  }

  private _set(connection: Connection): void {
    if (connection !== this._connection) {
      this._connection = connection;
      this._connectionChanged.emit(connection);
    }
  }

  private _pause(delay: number): Promise<void> {
    return new Promise(resolve => {
      const timer = window.setTimeout(resolve, delay);
      this._wake = () => {
        window.clearTimeout(timer);
        resolve();
      };
    });
  }

  private _abort = new AbortController();
  private _changed = new Signal<this, Change>(this);
  private _connection: Connection = 'connecting';
  private _connectionChanged = new Signal<this, Connection>(this);
  private _disposed = false;
  private _lastId = '';
  private _tried = new PromiseDelegate<void>();
  private _wake: (() => void) | null = null;
}
