import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { finishDist } from './plugins/dist.ts';

// The API that `npm run dev` talks to: a running `make dev`.
const backend = process.env.RINGFENCE_URL ?? 'https://localhost:8887';

export default defineConfig({
  plugins: [react(), finishDist()],
  build: {
    target: 'es2022',
    manifest: true,
    // Everything is a file of its own: the content security policy allows neither
    // inline scripts nor data: fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: 'licenses.md' },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 900,
  },
  server: {
    proxy: {
      '/api': { target: backend, secure: false, changeOrigin: true },
    },
  },
  test: {
    // Tests that need a page say so in their first line: each jsdom costs a second.
    environment: 'node',
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/test-setup.ts'],
    reporters: ['default', './plugins/counts.ts'],
  },
});
