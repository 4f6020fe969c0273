import { localStorageColorSchemeManager, MantineProvider } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { QueryClientProvider, type QueryClient } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { styleNonce } from './nonce';
import { cssVariables, theme } from './theme';

// The key is read by public/boot.js too.
const colorScheme = localStorageColorSchemeManager({ key: 'ringfence-color-scheme' });

/** What every entry page stands in: theme, queries, notices. */
export function Root({ queries, children }: { queries: QueryClient; children: ReactNode }) {
  return (
    <MantineProvider
      theme={theme}
      cssVariablesResolver={cssVariables}
      colorSchemeManager={colorScheme}
      defaultColorScheme="auto"
      getStyleNonce={styleNonce}
    >
      <QueryClientProvider client={queries}>
        <Notifications position="bottom-right" autoClose={5000} />
        {children}
      </QueryClientProvider>
    </MantineProvider>
  );
}
