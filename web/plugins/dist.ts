import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants } from 'node:zlib';
import type { Plugin } from 'vite';

const brotli = promisify(brotliCompress);
const compressible = /\.(js|css|html|svg|json|webmanifest|md)$/;

/**
 * Finishes the output folder: a brotli twin beside every text file, so that
 * the server never compresses, and .gitkeep back in its place, so that
 * `//go:embed all:dist` finds a folder on every clone.
 */
export function finishDist(): Plugin {
  let out = 'dist';
  return {
    name: 'ringfence:dist',
    apply: 'build',
    configResolved(config) {
      out = join(config.root, config.build.outDir);
    },
    async closeBundle() {
      await writeFile(join(out, '.gitkeep'), '');
      const files = await readdir(out, { recursive: true });
      await Promise.all(files.filter((f) => compressible.test(f)).map((f) => compress(join(out, f))));
    },
  };
}

async function compress(file: string): Promise<void> {
  const text = await readFile(file);
  // The page itself is rewritten for every answer (nonce): a twin would be stale.
  if (file.endsWith('index.html')) return;
  const packed = await brotli(text, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: text.length },
  });
  await writeFile(`${file}.br`, packed);
}
