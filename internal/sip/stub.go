package sip

import "ringfence/internal/ports"

type ServerTx struct{}
type Trace struct{}
type counters struct{}
type tagSecret struct{}
type txTable struct{}
type worker struct{}
type junkLog struct{}

func newTagSecret() tagSecret          { return tagSecret{} }
func newTxTable(e *Endpoint) *txTable  { return &txTable{} }
func (t *txTable) close()              {}
func (e *Endpoint) startWorkers()      {}
func (e *Endpoint) stopWorkers()       {}
func (e *Endpoint) openUDP(k listenKey, s ports.Side) (*listener, error) { return nil, nil }
func param(p Params, k string) (string, bool) { return "", false }
func appendParams(b []byte, p Params) []byte { return b }
func appendQuoted(b []byte, s string) []byte { return b }
func cutComma(s string) (string, string) { return s, "" }
func parseNameAddr(s string) (NameAddr, error) { return NameAddr{}, nil }
