import { Stack, Text } from '@mantine/core';
import type { NameReport } from '../../shared/api';
import { State, type Tone } from '../../shared/ui/State';
import { acme as texts } from '../../texts/certificates';

function verdict(r: NameReport): [Tone, string] {
  if (r.problem !== '') return ['bad', texts.unreachable];
  return r.doubt !== '' ? ['warn', texts.doubtful] : ['ok', texts.reachable];
}

/** What became of looking names up: where each leads, and what is wrong with that. */
export function Names({ title, reports }: { title: string; reports: readonly NameReport[] }) {
  return (
    <section aria-label={title}>
      <Text size="sm" fw={500} mb={6}>
        {title}
      </Text>
      <Stack gap={10}>
        {reports.map((r) => {
          const [tone, word] = verdict(r);
          return (
            <div key={r.name} data-report={r.name}>
              <span style={{ fontWeight: 550, overflowWrap: 'anywhere' }}>{r.name}</span> <State tone={tone}>{word}</State>
              <Text size="sm" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
                <span className="mono">{r.addresses.join(', ') || texts.noAddress}</span>
              </Text>
              {[r.problem, r.doubt].filter(Boolean).map((text) => (
                <Text key={text} size="sm">
                  {text[0]!.toUpperCase() + text.slice(1)}
                </Text>
              ))}
            </div>
          );
        })}
      </Stack>
    </section>
  );
}
