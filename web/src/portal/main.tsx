import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { holdSessionToken, onSignedOut } from '../shared/api';
import { shareNonce } from '../shared/nonce';
import { newQueryClient } from '../shared/queries';
import { Root } from '../shared/Root';
import '../shared/styles.css';
import { newRouter } from './router';

shareNonce();

const queries = newQueryClient();
const router = newRouter(queries);

onSignedOut(() => {
  const { pathname, searchStr } = router.state.location;
  if (pathname === '/login') return;
  queries.clear();
  holdSessionToken('');
  void router.navigate({ to: '/login', search: { next: pathname + searchStr, reason: 'expired' } });
});

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <Root queries={queries}>
      <RouterProvider router={router} />
    </Root>
  </StrictMode>,
);
