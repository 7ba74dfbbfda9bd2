/** The ways in which a file can be looked at. */
export type PreviewKind = 'image' | 'svg' | 'audio' | 'video' | 'csv' | 'parquet' | 'text' | 'none';

/** How to look at a file, and its media type. */
export interface Kind {
  kind: PreviewKind;
  type: string;
}

const BINARY = 'application/octet-stream';

/** By the end of the name: kind and media type (IANA's where it has one). */
const KNOWN: Record<string, [PreviewKind, string]> = {
  avif: ['image', 'image/avif'],
  bmp: ['image', 'image/bmp'],
  gif: ['image', 'image/gif'],
  ico: ['image', 'image/vnd.microsoft.icon'],
  jpeg: ['image', 'image/jpeg'],
  jpg: ['image', 'image/jpeg'],
  png: ['image', 'image/png'],
  webp: ['image', 'image/webp'],
  svg: ['svg', 'image/svg+xml'],
  aac: ['audio', 'audio/aac'],
  flac: ['audio', 'audio/flac'],
  m4a: ['audio', 'audio/mp4'],
  mp3: ['audio', 'audio/mpeg'],
  oga: ['audio', 'audio/ogg'],
  ogg: ['audio', 'audio/ogg'],
  opus: ['audio', 'audio/ogg'],
  wav: ['audio', 'audio/wav'],
  mp4: ['video', 'video/mp4'],
  webm: ['video', 'video/webm'],
  csv: ['csv', 'text/csv'],
  tsv: ['csv', 'text/tab-separated-values'],
  parquet: ['parquet', 'application/vnd.apache.parquet'],
  css: ['text', 'text/css'],
  htm: ['text', 'text/html'],
  html: ['text', 'text/html'],
  ipynb: ['text', 'application/x-ipynb+json'],
  js: ['text', 'text/javascript'],
  json: ['text', 'application/json'],
  jsonl: ['text', 'application/jsonl'],
  md: ['text', 'text/markdown'],
  py: ['text', 'text/x-python'],
  rst: ['text', 'text/x-rst'],
  sh: ['text', 'application/x-sh'],
  toml: ['text', 'application/toml'],
  txt: ['text', 'text/plain'],
  xml: ['text', 'application/xml'],
  yaml: ['text', 'application/yaml'],
  yml: ['text', 'application/yaml'],
  bin: ['none', BINARY],
  bz2: ['none', 'application/x-bzip2'],
  ckpt: ['none', BINARY],
  gz: ['none', 'application/gzip'],
  h5: ['none', 'application/x-hdf5'],
  joblib: ['none', BINARY],
  npy: ['none', BINARY],
  npz: ['none', BINARY],
  onnx: ['none', BINARY],
  pdf: ['none', 'application/pdf'],
  pickle: ['none', BINARY],
  pkl: ['none', BINARY],
  pt: ['none', BINARY],
  pth: ['none', BINARY],
  safetensors: ['none', BINARY],
  tar: ['none', 'application/x-tar'],
  tfrecord: ['none', BINARY],
  tgz: ['none', 'application/gzip'],
  whl: ['none', 'application/zip'],
  xz: ['none', 'application/x-xz'],
  zip: ['none', 'application/zip'],
  zst: ['none', 'application/zstd']
};

/** Tell by a file's name how to look at it; what has no known end may be text. */
export function kindOf(path: string): Kind {
  const end = /\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
  const [kind, type] = KNOWN[end] ?? ['text', BINARY];
  return { kind, type };
}
