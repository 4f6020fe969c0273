import { setNonce } from 'get-nonce';

/** The nonce of this page's style elements; httpd writes it into every answer. */
export function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? '';
}

/** Hands the nonce to the library that locks scrolling behind dialogs. */
export function shareNonce(): void {
  setNonce(styleNonce());
}
