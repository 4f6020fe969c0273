// The page is rendered in the language of the test machine otherwise.
process.env.TZ = 'UTC';
export {};
