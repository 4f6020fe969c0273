import { Button, Center, Loader, Stack } from '@mantine/core';
import { IconCompass } from '@tabler/icons-react';
import { useRouter, type ErrorComponentProps } from '@tanstack/react-router';
import { asProblem } from '../shared/problems';
import { Brand } from '../shared/ui/Brand';
import { ButtonLink } from '../shared/ui/ButtonLink';
import { Empty } from '../shared/ui/Empty';
import { ProblemNotice } from '../shared/ui/Notice';
import { common } from '../texts/common';
import { shell } from '../texts/shell';

export function Waiting() {
  return (
    <Center mih="60vh">
      <Loader type="dots" role="status" aria-label={common.loading} />
    </Center>
  );
}

export function NotFound() {
  return (
    <Center mih="80vh" component="main">
      <Empty
        icon={<IconCompass size={22} />}
        title={shell.notFound}
        action={
          <ButtonLink to="/">
            {shell.toOverview}
          </ButtonLink>
        }
      >
        {shell.notFoundText}
      </Empty>
    </Center>
  );
}

/** A page that failed as a whole: mostly a server that does not answer. */
export function Unreachable({ error, reset }: ErrorComponentProps) {
  const router = useRouter();
  return (
    <Center mih="80vh" p="md" component="main">
      <Stack maw={460}>
        <Brand />
        <ProblemNotice problem={asProblem(error)} />
        <Button
          variant="default"
          onClick={() => {
            reset();
            void router.invalidate();
          }}
        >
          {common.retry}
        </Button>
      </Stack>
    </Center>
  );
}
