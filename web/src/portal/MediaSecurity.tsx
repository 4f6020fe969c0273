import { Radio, Stack } from '@mantine/core';
import type { ReactNode } from 'react';
import { media } from '../texts/media';

interface Props {
  label: string;
  description?: string;
  value?: string;
  onChange?: (value: string) => void;
  error?: ReactNode;
}

/** How media must be encrypted: each way with what it means. */
export function MediaSecurity({ label, description, value, onChange, error }: Props) {
  return (
    <Radio.Group
      label={label}
      description={description}
      value={value}
      onChange={onChange}
      error={error}
      inputWrapperOrder={['label', 'description', 'error', 'input']}
    >
      <Stack gap={10} mt={8}>
        {media.levels.map((level) => (
          <Radio key={level} value={level} label={media.names[level]} description={media.hints[level]} />
        ))}
      </Stack>
    </Radio.Group>
  );
}
