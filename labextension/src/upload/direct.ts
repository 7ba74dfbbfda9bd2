import type { TransferPlan } from '../api/types';

/** What an object claims to be; hashes in hexadecimal, a size in bytes. */
interface Transfer {
  kind: 'pack' | 'object';
  name: string;
  sha256: string;
  size: number;
}

const TRIES = 3;

/** Sends bytes straight to the object store, where this browser may and can. */
export class Direct {
  constructor(
    private readonly _post: <T>(path: string, body: unknown) => Promise<T>,
    private readonly _upload: string,
    private readonly _signal: AbortSignal
  ) {}

  /** Send an object; false when it has to go through the hub. */
  async send(transfer: Transfer, bytes: Blob, report?: (arrived: number) => void): Promise<boolean> {
    if (!this._works) {
      return false;
    }
    for (let attempt = 1; ; attempt++) {
      const plan = await this._post<TransferPlan>(`${this._upload}/transfers`, transfer);
      let arrived = plan.arrived;
      report?.(arrived);
      try {
        for (const part of plan.parts) {
          await this._part(part.url, bytes.slice(part.offset, part.offset + part.size));
          arrived += part.size;
          report?.(arrived);
        }
        break;
      } catch (error) {
        this._signal.throwIfAborted();
        // A store that never answered this page does not know its origin, or is out of its reach.
        if (!(error instanceof TypeError) || !this._proved || attempt >= TRIES) {
          this._works = false;
          return false;
        }
      }
    }
    for (;;) {
      const path = `${this._upload}/transfers/finish`;
      if ((await this._post<{ complete: boolean }>(path, transfer)).complete) {
        return true;
      }
    }
  }

  private async _part(url: string, body: Blob): Promise<void> {
    const init: RequestInit = { method: 'PUT', body, credentials: 'omit', signal: this._signal };
    const response = await fetch(url, init);
    if (!response.ok) {
      throw new Error(`The object store answered ${response.status}.`);
    }
    this._proved = true;
  }

  private _proved = false;
  private _works = true;
}
