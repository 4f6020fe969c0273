import { Stack } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem, type Problem } from '../../shared/problems';
import { keepSession } from '../../shared/queries';
import { Brand } from '../../shared/ui/Brand';
import { ButtonLink } from '../../shared/ui/ButtonLink';
import { Notice } from '../../shared/ui/Notice';
import { common } from '../../texts/common';
import { sso as texts } from '../../texts/signin';
import css from './Login.module.css';

/** Where a sign-in provider sends people back to. */
export function SsoDone() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [problem, setProblem] = useState<Problem | null>(null);
  const begun = useRef(false);
  useEffect(() => {
    document.title = `${texts.title} · Ringfence`;
    if (begun.current) return;
    begun.current = true;
    const answer = new URLSearchParams(window.location.search);
    // The code is good for once; no history needs it.
    window.history.replaceState(window.history.state, '', window.location.pathname);
    const body = { state: answer.get('state') ?? '', code: answer.get('code') ?? '', iss: answer.get('iss') ?? undefined };
    take(client.POST('/api/v1/sso/finish', { body }))
      .then((session) => {
        queries.clear();
        keepSession(queries, session);
        void navigate({ to: session.second_factor_owed ? '/login' : '/', replace: true });
      })
      .catch((thrown: unknown) => setProblem(asProblem(thrown)));
  }, [queries, navigate]);
  return (
    <main className={css.page}>
      <div className={css.box}>
        <Brand size={32} />
        <div className={css.card}>
          <h1>{texts.title}</h1>
          {problem === null ? (
            <p>{common.loading}…</p>
          ) : (
            <Stack gap="md">
              <Notice tone="bad" title={problem.status === 403 ? texts.stranger : texts.failed}>
                {problem.status === 403 ? texts.strangerText : texts.failedText}
              </Notice>
              <ButtonLink to="/login">{texts.again}</ButtonLink>
            </Stack>
          )}
        </div>
      </div>
    </main>
  );
}
