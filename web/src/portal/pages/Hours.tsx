import { Button, Group, Stack, Textarea, TextInput } from '@mantine/core';
import { IconClock, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Fragment, useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { Empty } from '../../shared/ui/Empty';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { State, type Tone } from '../../shared/ui/State';
import { hours as texts, routing } from '../../texts/routing';
import { Editor } from '../routing/Editor';
import { hoursQuery, inboundQuery, outboundQuery, type HoursNow } from '../routing/queries';
import { clockText, holidayText, parseHoliday, parseSpans } from '../routing/ranges';
import css from '../routing/Week.module.css';

/** Monday first, as people look at a week. */
const order = [1, 2, 3, 4, 5, 6, 0];
const tones: Record<HoursNow['state'], Tone> = { open: 'ok', closed: 'idle', holiday: 'warn' };

/** A wall clock of the organisation's zone: the browser may stand in another. */
function wall(at: string) {
  const [, y, m, d, h, min] = /^(\d+)-(\d+)-(\d+)T(\d+):(\d+)/.exec(at)!.map(Number) as [number, number, number, number, number, number];
  return { weekday: new Date(Date.UTC(y, m - 1, d)).getUTCDay(), minute: h * 60 + min, date: `${y}-${String(m).padStart(2, '0')}-${String(d).padStart(2, '0')}` };
}

function next(h: HoursNow, now: string): string {
  if (!h.next_change) return texts.for;
  const at = wall(h.next_change);
  const day = at.date === wall(now).date ? '' : `${texts.days[at.weekday]} ${at.date}, `;
  return texts.until(`${day}${clockText(at.minute)}`, texts.nextStates[(h.next_state ?? 'open') as HoursNow['state']]);
}

export function Hours() {
  const query = useQuery(hoursQuery);
  const [open, setOpen] = useState<HoursNow | 'new' | null>(null);
  const add = (
    <Button leftSection={<IconPlus size={17} />} onClick={() => setOpen('new')}>
      {texts.add}
    </Button>
  );
  const list = query.data?.items as HoursNow[] | undefined;
  return (
    <Page title={texts.title} lead={query.data ? `${texts.lead} ${texts.zone(query.data.time_zone)}.` : texts.lead} actions={add}>
      {query.error && <ProblemNotice problem={asProblem(query.error)} />}
      {list?.length === 0 && (
        <Panel>
          <Empty icon={<IconClock size={22} />} title={texts.none} action={add}>
            {texts.noneText}
          </Empty>
        </Panel>
      )}
      {list?.map((h) => (
        <Panel
          key={h.name}
          title={h.name}
          action={
            <Button size="compact-sm" variant="default" onClick={() => setOpen(h)}>
              {routing.edit}
            </Button>
          }
        >
          <Stack gap="sm">
            <Group gap="md">
              <State tone={tones[h.state]}>{h.holiday ? `${texts.states[h.state]}: ${h.holiday}` : texts.states[h.state]}</State>
              <span className="dimmed">{next(h, query.data!.now)}</span>
            </Group>
            <Week hours={h} now={query.data!.now} />
            {h.holidays.length > 0 && (
              <span className="dimmed">
                {texts.holidays}: {h.holidays.map(holidayText).join(', ')}
              </span>
            )}
          </Stack>
        </Panel>
      ))}
      {open && <Form hours={open === 'new' ? undefined : open} onClose={() => setOpen(null)} />}
    </Page>
  );
}

/** The week drawn: a bar a day, open where it is filled, a line where it is now. */
function Week({ hours, now }: { hours: HoursNow; now: string }) {
  const { weekday, minute } = wall(now);
  return (
    <div className={css.week}>
      {order.map((day) => (
        <Fragment key={day}>
          <span className={day === weekday ? css.today : undefined}>{texts.days[day]}</span>
          <div className={css.day} role="img" aria-label={spansText(hours, day) || texts.closedDay}>
            {hours.week[day]?.map((s) => (
              <span key={s.from} className={css.span} title={`${clockText(s.from)}–${clockText(s.to)}`} style={{ left: `${s.from / 14.4}%`, width: `${(s.to - s.from) / 14.4}%` }} />
            ))}
            {day === weekday && <span className={css.now} style={{ left: `${minute / 14.4}%` }} />}
          </div>
        </Fragment>
      ))}
      <span />
      <div className={css.scale} aria-hidden>
        {[0, 6, 12, 18, 24].map((h) => (
          <span key={h}>{h}</span>
        ))}
      </div>
    </div>
  );
}

const spansText = (h: HoursNow | undefined, day: number) => (h?.week[day] ?? []).map((s) => `${clockText(s.from)}-${clockText(s.to)}`).join(', ');

function valuesOf(h: HoursNow | undefined) {
  const office = (day: number) => (h ? spansText(h, day) : day >= 1 && day <= 5 ? '08:00-17:00' : '');
  return { name: h?.name ?? '', week: texts.days.map((_, day) => office(day)), holidays: (h?.holidays ?? []).map(holidayText).join('\n') };
}

function Form({ hours, onClose }: { hours: HoursNow | undefined; onClose: () => void }) {
  const lines = (text: string) => text.split('\n').filter((line) => line.trim() !== '');
  const bodyOf = (v: ReturnType<typeof valuesOf>) => ({
    name: v.name.trim(),
    week: v.week.map((text) => parseSpans(text) ?? []),
    holidays: lines(v.holidays).map((line) => parseHoliday(line)!),
  });
  const validate = (v: ReturnType<typeof valuesOf>) => {
    const errors: Record<string, string> = {};
    v.week.forEach((text, day) => {
      if (parseSpans(text) === null) errors[`week.${day}`] = texts.badSpan;
    });
    const bad = lines(v.holidays).find((line) => parseHoliday(line) === null);
    if (bad !== undefined) errors.holidays = texts.badHoliday(bad);
    return errors;
  };
  const path = { params: { path: { hours: hours?.name ?? '' } } };
  return (
    <Editor
      title={hours?.name ?? texts.add}
      name={(v) => v.name}
      initial={valuesOf(hours)}
      validate={validate}
      stale={[hoursQuery.queryKey, outboundQuery.queryKey, inboundQuery.queryKey]}
      save={(v) => (hours ? take(client.PATCH('/api/v1/hours/{hours}', { ...path, body: bodyOf(v) })) : take(client.POST('/api/v1/hours', { body: bodyOf(v) })))}
      remove={hours && (() => take(client.DELETE('/api/v1/hours/{hours}', path)))}
      onClose={onClose}
    >
      {(form) => (
        <>
          <TextInput label={routing.name} maxLength={64} data-autofocus {...form.getInputProps('name')} />
          <span className="dimmed">{texts.dayHint}</span>
          {order.map((day) => (
            <TextInput key={day} label={texts.days[day]} placeholder={texts.closedDay} {...form.getInputProps(`week.${day}`)} />
          ))}
          <Textarea label={texts.holidays} description={texts.holidaysHint} autosize minRows={3} maxRows={12} {...form.getInputProps('holidays')} />
        </>
      )}
    </Editor>
  );
}
