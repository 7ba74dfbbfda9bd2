/** One message of a server-sent event stream (WHATWG HTML, 9.2). */
export interface Message {
  event: string;
  data: string;
  id: string;
}

/** Cuts a stream of text into messages; comments are told apart. */
export class Parser {
  /** Take more text; return the messages that it completes. */
  push(text: string): Message[] {
    const messages: Message[] = [];
    const lines = (this._rest + text).split('\n');
    this._rest = lines.pop() ?? '';
    for (const ended of lines) {
      const line = ended.replace(/\r$/, '');
      if (line === '') {
        if (this._data.length) {
          messages.push({ event: this._event, data: this._data.join('\n'), id: this._id });
        }
        this._data = [];
        this._event = 'message';
      } else if (line.startsWith(':')) {
        this.comment = line.slice(1).trim();
      } else {
        this._field(line);
      }
    }
    return messages;
  }

  /** The last comment line. */
  comment = '';

  private _field(line: string): void {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') {
      this._data.push(value);
    } else if (name === 'event') {
      this._event = value;
    } else if (name === 'id') {
      this._id = value;
    }
  }

  private _rest = '';
  private _data: string[] = [];
  private _event = 'message';
  private _id = '';
}

/** Read a response's messages until it ends; `onChunk` hears of comments as well. */
export async function* messages(
  response: Response,
  parser: Parser = new Parser(),
  onChunk: () => void = () => undefined
): AsyncGenerator<Message> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) {
    return;
  }
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      const found = parser.push(value);
      onChunk();
      yield* found;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
