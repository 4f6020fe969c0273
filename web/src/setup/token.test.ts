// @vitest-environment jsdom
import { afterEach, expect, it } from 'vitest';
import { forgetToken, takeToken } from './token';

afterEach(() => {
  history.replaceState(null, '', '/');
  sessionStorage.clear();
});

it('takes the token out of the address and cleans it', () => {
  history.replaceState(null, '', '/setup#token=abc123');
  expect(takeToken()).toBe('abc123');
  expect(location.href).toMatch(/\/setup$/);
});

it('survives a reload of the tab', () => {
  history.replaceState(null, '', '/setup#token=abc123');
  takeToken();
  expect(takeToken()).toBe('abc123');
});

it('forgets when set-up is finished', () => {
  history.replaceState(null, '', '/setup#token=abc123');
  takeToken();
  forgetToken();
  expect(takeToken()).toBe('');
});

it('prefers a new token in the address', () => {
  history.replaceState(null, '', '/setup#token=old');
  takeToken();
  history.replaceState(null, '', '/setup#token=new');
  expect(takeToken()).toBe('new');
});
