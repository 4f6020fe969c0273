// Package api serves the REST interface of the portal under /api/v1: typed
// operations, one access check around every route, and the OpenAPI document
// that the user interface's client is generated from.
package api
