import { ActionIcon, Button, Tooltip } from '@mantine/core';
import { useClipboard } from '@mantine/hooks';
import { IconCheck, IconCopy, IconEye, IconEyeOff } from '@tabler/icons-react';
import { useState } from 'react';
import { common } from '../../texts/common';
import css from './parts.module.css';

/** Copies a text; `what` names it for those who hear the page. */
export function CopyButton({ text, what, label }: { text: string; what: string; label?: string }) {
  const clipboard = useClipboard({ timeout: 1600 });
  const icon = clipboard.copied ? <IconCheck size={16} /> : <IconCopy size={16} />;
  const name = clipboard.copied ? common.copied(what) : common.copy(what);
  if (label !== undefined) {
    return (
      <Button variant="default" size="xs" leftSection={icon} aria-label={name} onClick={() => clipboard.copy(text)}>
        {clipboard.copied ? common.copiedShort : label}
      </Button>
    );
  }
  return (
    <Tooltip label={name}>
      <ActionIcon variant="subtle" color="gray" aria-label={name} onClick={() => clipboard.copy(text)}>
        {icon}
      </ActionIcon>
    </Tooltip>
  );
}

/** A text in equal-width letters with a copy button. */
export function Copyable({ text, what }: { text: string; what: string }) {
  return (
    <span className={css.secret}>
      <span className={`${css.secretText} mono`}>{text}</span>
      <CopyButton text={text} what={what} />
    </span>
  );
}

/** A secret: hidden until asked for, unless it was made a moment ago. */
export function Secret({ text, what, shown = false }: { text: string; what: string; shown?: boolean }) {
  const [visible, setVisible] = useState(shown);
  const name = visible ? common.hide(what) : common.show(what);
  return (
    <span className={css.secret}>
      <span className={`${css.secretText} mono`}>{visible ? text : '•'.repeat(12)}</span>
      <Tooltip label={name}>
        <ActionIcon variant="subtle" color="gray" aria-label={name} onClick={() => setVisible(!visible)}>
          {visible ? <IconEyeOff size={16} /> : <IconEye size={16} />}
        </ActionIcon>
      </Tooltip>
      <CopyButton text={text} what={what} />
    </span>
  );
}
