/** Text that a spreadsheet would run as a formula gets an apostrophe in front. */
function cell(value: string | number | null | undefined): string {
  let text = value === null || value === undefined ? '' : String(value);
  if (typeof value === 'string' && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A CSV document (RFC 4180) with a heading row. */
export function csv(heading: readonly string[], rows: readonly (readonly (string | number | null | undefined)[])[]): string {
  return [heading, ...rows].map((row) => row.map(cell).join(',')).join('\r\n') + '\r\n';
}

/** Hands a text to the browser's downloads. */
export function download(name: string, type: string, text: string): void {
  // The mark in front tells spreadsheets that the text is UTF-8; others stumble over it.
  const url = URL.createObjectURL(new Blob([type === 'text/csv' ? '\ufeff' : '', text], { type: `${type};charset=utf-8` }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
