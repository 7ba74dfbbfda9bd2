import assert from 'node:assert/strict';
import { test } from 'node:test';

import { messages, Parser } from '../../../labextension/src/api/sse.ts';

const STREAM =
  ': listening after 7\n\nid: 8\nevent: log\ndata: {"a":\ndata: 1}\n\nid: 9\ndata:x\n\n';

test('a message may arrive in any pieces, with either end of lines', () => {
  for (const whole of [STREAM, STREAM.replaceAll('\n', '\r\n')]) {
    inPieces(whole);
  }
});

function inPieces(whole: string): void {
  for (let size = 1; size <= whole.length; size++) {
    const parser = new Parser();
    const found = [];
    for (let at = 0; at < whole.length; at += size) {
      found.push(...parser.push(whole.slice(at, at + size)));
    }
    assert.equal(parser.comment, 'listening after 7');
    assert.deepEqual(found, [
      { event: 'log', data: '{"a":\n1}', id: '8' },
      { event: 'message', data: 'x', id: '9' }
    ]);
  }
}

test('characters that a chunk cuts in two stay whole', async () => {
  const bytes = new TextEncoder().encode('data: ∇ läuft\n\n');
  const body = new ReadableStream({
    start(controller) {
      bytes.forEach(byte => controller.enqueue(new Uint8Array([byte])));
      controller.close();
    }
  });
  const found = [];
  for await (const message of messages(new Response(body))) {
    found.push(message.data);
  }
  assert.deepEqual(found, ['∇ läuft']);
});
