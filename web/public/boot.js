// Runs before everything else: it is plain, blocking, and not bundled.

// Trusted Types: the only policy there is. Libraries may set text without
// markup (the component library's style sheets); whatever could become an
// element is refused. Scripts from strings have no creator, so they are refused
// too.
if (window.trustedTypes) {
  window.trustedTypes.createPolicy('default', {
    createHTML: function (text) {
      return text.indexOf('<') < 0 ? text : null;
    },
  });
}

// The colour scheme before the first paint, so that a dark page never flashes white.
(function () {
  var stored = null;
  try {
    stored = localStorage.getItem('ringfence-color-scheme');
  } catch (e) {
    // Storage may be closed; the system's preference is the answer then.
  }
  var dark = stored === 'dark' || (stored !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.setAttribute('data-mantine-color-scheme', dark ? 'dark' : 'light');
})();
