import { Button, Skeleton } from '@mantine/core';
import { IconRefresh } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { provisioningQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { Copyable } from '../../shared/ui/Copy';
import { ProblemNotice } from '../../shared/ui/Notice';
import parts from '../../shared/ui/parts.module.css';
import { extensions as texts } from '../../texts/extensions';
import css from '../pages/pages.module.css';

/** The QR code and address from which a phone sets itself up. */
export function PhoneSetup({ number }: { number: string }) {
  const queries = useQueryClient();
  const query = useQuery(provisioningQuery(number));
  const [rotating, setRotating] = useState(false);
  const rotate = async () => {
    const fresh = await take(client.POST('/api/v1/extensions/{number}/provisioning', { params: { path: { number } } }));
    queries.setQueryData(provisioningQuery(number).queryKey, fresh);
  };
  return (
    <section className={css.section}>
      <h3>{texts.phoneSetup}</h3>
      {query.error ? (
        <ProblemNotice problem={asProblem(query.error)} />
      ) : (
        <div className={css.pair}>
          {query.data ? <img className={parts.qr} src={query.data.qr_png} alt={texts.qrAlt(number)} /> : <Skeleton height={208} width={208} radius="md" />}
          <div className={css.stack}>
            <span className="dimmed" style={{ lineHeight: 1.55 }}>
              {texts.qrText}
            </span>
            {query.data && (
              <div>
                <div className="dimmed">{texts.provisioningURL}</div>
                <Copyable text={query.data.url} what={texts.provisioningURL} />
              </div>
            )}
            <span className="dimmed">{texts.urlWarning}</span>
            <div>
              <Button size="xs" variant="default" leftSection={<IconRefresh size={15} />} onClick={() => setRotating(true)}>
                {texts.rotate}
              </Button>
            </div>
          </div>
        </div>
      )}
      <Confirm opened={rotating} title={texts.rotateTitle(number)} effect={texts.rotateEffect} deed={texts.rotate} run={rotate} onClose={() => setRotating(false)} />
    </section>
  );
}
