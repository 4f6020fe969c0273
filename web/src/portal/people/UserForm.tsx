import { Checkbox, Select, Stack, TextInput } from '@mantine/core';
import type { UseFormReturnType } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import type { User } from '../../shared/api';
import { rolesQuery } from '../../shared/queries';
import { people as texts } from '../../texts/people';
import { roleName } from '../roles';

export const userFields = ['name', 'first_name', 'last_name', 'email', 'phone', 'role', 'extension'];

export interface UserValues {
  name: string;
  first_name: string;
  last_name: string;
  email: string;
  phone: string;
  role: string;
  extension: string;
  make: boolean;
}

export function userValues(u?: User): UserValues {
  return {
    name: u?.name ?? '',
    first_name: u?.first_name ?? '',
    last_name: u?.last_name ?? '',
    email: u?.email ?? '',
    phone: u?.phone ?? '',
    role: u?.role ?? 'standard',
    extension: u?.extension ?? '',
    make: false,
  };
}

/** The fields of a user; a new one can get a new extension. */
export function UserForm({ form, fresh }: { form: UseFormReturnType<UserValues>; fresh?: boolean }) {
  const roles = useQuery(rolesQuery).data?.items ?? [];
  return (
    <Stack gap="md">
      <TextInput label={texts.name} description={texts.nameHint} maxLength={64} data-autofocus {...form.getInputProps('name')} />
      <TextInput label={texts.firstName} maxLength={100} {...form.getInputProps('first_name')} />
      <TextInput label={texts.lastName} maxLength={100} {...form.getInputProps('last_name')} />
      <TextInput label={texts.email} maxLength={254} {...form.getInputProps('email')} />
      <TextInput label={texts.phone} maxLength={32} {...form.getInputProps('phone')} />
      <Select label={texts.role} data={roles.map((r) => ({ value: r.name, label: roleName(r.name) }))} allowDeselect={false} {...form.getInputProps('role')} />
      <TextInput label={texts.extension} description={texts.extensionHint} inputMode="numeric" maxLength={9} {...form.getInputProps('extension')} />
      {fresh && <Checkbox label={texts.makeExtension} disabled={form.values.extension === ''} {...form.getInputProps('make', { type: 'checkbox' })} />}
    </Stack>
  );
}
