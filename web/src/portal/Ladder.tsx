import { Anchor, Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type CallTrace } from '../shared/api';
import { asProblem } from '../shared/problems';
import { Notice } from '../shared/ui/Notice';
import { trace as texts } from '../texts/calls';
import css from './Ladder.module.css';

type Step = CallTrace['steps'][number];

/** The SIP messages of a call, fetched when somebody asks for them. */
export function Ladder({ call }: { call: string }) {
  const [wanted, setWanted] = useState(false);
  const query = useQuery({
    queryKey: ['trace', call],
    queryFn: () => take(client.GET('/api/v1/calls/{id}/trace', { params: { path: { id: call } } })),
    enabled: wanted,
    retry: false,
  });
  if (!query.data) {
    return (
      <>
        <Button variant="default" size="compact-sm" loading={query.isFetching} onClick={() => setWanted(true)}>
          {texts.show}
        </Button>
        {query.error && <Notice tone="info" title={asProblem(query.error).status === 404 ? texts.gone : texts.failed} />}
      </>
    );
  }
  return (
    <>
      {query.data.cut && <Notice tone="info" title={texts.cut} />}
      <ol className={css.steps}>
        {query.data.steps.map((s, i) => (
          <Arrow key={i} step={s} since={query.data.steps[0]!.at} />
        ))}
      </ol>
      <Anchor href={`/api/v1/calls/${encodeURIComponent(call)}/trace.pcap`} download size="sm">
        {texts.capture}
      </Anchor>
    </>
  );
}

function Arrow({ step: s, since }: { step: Step; since: string }) {
  const after = (Date.parse(s.at) - Date.parse(since)) / 1000;
  const received = s.to === texts.self;
  return (
    <li>
      <details className={css.step}>
        <summary>
          <span className={css.time}>{`+${after.toFixed(3)}`}</span>
          <span className={css.peer}>{`${received ? s.from : s.to} ${s.transport}`}</span>
          <span aria-label={received ? texts.received : texts.sent}>{received ? '→' : '←'}</span>
          <span className={css.what}>{s.summary}</span>
        </summary>
        <pre className={css.text}>{s.text}</pre>
      </details>
    </li>
  );
}
