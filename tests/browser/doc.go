// Package browser drives the user interface in Chromium: every page in light
// and dark, on a desk and on a phone, with no violation of the content
// security policy, no page error and no serious accessibility finding.
package browser
