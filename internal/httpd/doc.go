// Package httpd owns the web listeners: TLS, limits, security headers, static
// files, and which handler answers which path on which port.
package httpd
