package api

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// CDRFilter chooses call records.
type CDRFilter struct {
	Extension  string    `query:"extension" pattern:"^[0-9]{2,9}$" maxLength:"9" doc:"Only calls of this extension."`
	Number     string    `query:"number" pattern:"^[0-9+*#]{1,32}$" maxLength:"32" doc:"Only calls from or to a number that contains this."`
	From       time.Time `query:"from" doc:"Only calls that started then or later."`
	To         time.Time `query:"to" doc:"Only calls that started before."`
	Direction  string    `query:"direction" enum:"internal,inbound,outbound"`
	Result     string    `query:"result" enum:"answered,missed"`
	Reason     string    `query:"reason" pattern:"^[a-z_]{1,40}$" maxLength:"40" doc:"Only calls with this end_reason."`
	MinSeconds int       `query:"min_seconds" minimum:"0" maximum:"86400" doc:"Only calls that lasted so long, from the answer."`
	Alarm      bool      `query:"alarm" doc:"Only calls whose media were bad."`
}

// cdrQuery is a page of them.
type cdrQuery struct {
	CDRFilter
	Before string `query:"before" maxLength:"128" doc:"next of the page before; empty for the newest."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

// Keeping is how long records are kept.
type Keeping struct {
	CallDays int `json:"call_days" minimum:"0" maximum:"3650" doc:"Call records are removed after so many days; 0: the oldest give way when there are too many."`
}

func (s *Server) registerCDRs() {
	const who = "; users without the permission cdr.read_all see their own"
	handle(s, operation{id: "list-cdrs", method: http.MethodGet, path: "/cdrs", tag: "records", summary: "Finished calls, newest first" + who, access: anyUser, fields: map[string]string{"cursor": "query.before"}}, s.listCDRs)
	handle(s, operation{id: "export-cdrs", method: http.MethodGet, path: "/cdrs/csv", tag: "records", summary: "Finished calls as CSV, newest first" + who, access: anyUser, stream: true, produces: csvType, errors: []int{http.StatusTooManyRequests}}, s.exportCDRs)
	handle(s, operation{id: "get-keeping", method: http.MethodGet, path: "/keeping", tag: "tenant", summary: "How long records are kept", access: admin}, s.getKeeping)
	handle(s, operation{id: "put-keeping", method: http.MethodPut, path: "/keeping", tag: "tenant", summary: "Change how long records are kept", access: admin, errors: []int{http.StatusNotFound}}, s.putKeeping)
}

// cdrsOf is what a caller may see of what was asked for; nothing if not ok.
func (c caller) cdrsOf(q CDRFilter) (f store.CallRecordFilter, ok bool) {
	f = store.CallRecordFilter{
		Extension: q.Extension, Number: q.Number, From: q.From, Before: q.To, Direction: q.Direction,
		Reason: telephony.EndReason(q.Reason), Least: time.Duration(q.MinSeconds) * time.Second, Alarm: q.Alarm,
	}
	if q.Result != "" {
		answered := q.Result == "answered"
		f.Answered = &answered
	}
	if c.may(telephony.PermCDR) {
		return f, true
	}
	own := c.session.User.Extension // U01: everybody sees the own calls
	f.Extension = own
	return f, own != "" && (q.Extension == "" || q.Extension == own)
}

func (s *Server) listCDRs(ctx context.Context, in *cdrQuery) (*body[CallRecordList], error) {
	c := callerOf(ctx)
	out := CallRecordList{Items: []CallRecord{}}
	f, ok := c.cdrsOf(in.CDRFilter)
	if !ok {
		return &body[CallRecordList]{out}, nil
	}
	f.Cursor, f.Limit = in.Before, in.Limit
	records, next, err := s.cfg.Store.ForTenant(c.tenant).CallRecords(ctx, f)
	if err != nil {
		return nil, err
	}
	out.Next = next
	for _, r := range records {
		out.Items = append(out.Items, recordOf(r))
	}
	return &body[CallRecordList]{out}, nil
}

// exportPage is how many records are read at a time, and exportWait how long
// their reader may take for them.
const (
	exportPage = 1000
	exportWait = 30 * time.Second

	csvType = "text/csv; charset=utf-8"
)

func (s *Server) exportCDRs(ctx context.Context, in *CDRFilter) (*huma.StreamResponse, error) {
	c := callerOf(ctx)
	f, ok := c.cdrsOf(*in)
	f.Limit = exportPage
	var page []telephony.CallRecord
	var err error
	if ok { // a first look, while an error can still be answered
		if page, f.Cursor, err = s.cfg.Store.ForTenant(c.tenant).CallRecords(ctx, f); err != nil {
			return nil, err
		}
	}
	key := sha256.Sum256([]byte(c.cookie))
	if !s.takeStream(key) {
		return nil, problem(http.StatusTooManyRequests, "too many exports and event streams are open")
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer s.giveStream(key)
		hc.SetHeader("Content-Type", csvType)
		hc.SetHeader("Content-Disposition", `attachment; filename="calls.csv"`)
		if err := s.writeCDRs(hc, c, f, page); err != nil {
			s.cfg.Logger.Warn("export of call records broken off", "err", err)
			panic(http.ErrAbortHandler) // a short file must not look whole
		}
	}}, nil
}

// writeCDRs writes a page and what follows it.
func (s *Server) writeCDRs(hc huma.Context, c caller, f store.CallRecordFilter, page []telephony.CallRecord) error {
	out := hc.BodyWriter()
	w := csv.NewWriter(out)
	if err := w.Write(cdrColumns()); err != nil {
		return err
	}
	for {
		for _, r := range page {
			if err := w.Write(cdrFields(r)); err != nil {
				return err
			}
		}
		if w.Flush(); w.Error() != nil || f.Cursor == "" {
			return w.Error()
		}
		if err := keepWriting(out); err != nil {
			return err
		}
		var err error
		if page, f.Cursor, err = s.cfg.Store.ForTenant(c.tenant).CallRecords(hc.Context(), f); err != nil {
			return err
		}
	}
}

// keepWriting sends what was written and gives the reader time for the next.
func keepWriting(out io.Writer) error {
	if f, ok := out.(http.Flusher); ok {
		f.Flush()
	}
	if d, ok := out.(interface{ SetWriteDeadline(time.Time) error }); ok {
		if err := d.SetWriteDeadline(time.Now().Add(exportWait)); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return nil
}

func cdrColumns() []string {
	return append([]string{
		"id", "direction", "caller_number", "caller_name", "callee_number", "callee_name",
		"started_at", "rang_at", "answered_at", "ended_at", "duration_seconds", "end_reason", "status_code",
		"caller_codec", "caller_mos", "callee_codec", "callee_mos", "alarm", "forwarded_by", "transferred_by", "previous_id", "next_id",
	}, routeColumns()...)
}

// cdrFields are the fields of a record. Names are what people, and phones, gave
// themselves.
func cdrFields(r telephony.CallRecord) []string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	mos := func(v float64) string {
		if v == 0 {
			return ""
		}
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	out := []string{
		string(r.ID), string(r.Direction), r.Caller.Number, r.Caller.Name, r.Callee.Number, r.Callee.Name,
		at(r.Started), at(r.Rang), at(r.Answered), at(r.Ended), strconv.FormatFloat(r.Duration().Seconds(), 'f', 1, 64), string(r.Reason), strconv.Itoa(r.StatusCode),
		r.CallerLeg.Codec, mos(r.CallerLeg.MOS), r.CalleeLeg.Codec, mos(r.CalleeLeg.MOS), string(r.Alarm),
		strings.Join(r.ForwardedBy, " "), r.TransferredBy, string(r.Previous), string(r.Next),
	}
	out = append(out, routeFields(r)...)
	for i := range out {
		out[i] = inert(out[i])
	}
	return out
}

func (s *Server) getKeeping(ctx context.Context, _ *noInput) (*body[Keeping], error) {
	k, err := s.cfg.Store.ForTenant(callerOf(ctx).tenant).Keeping(ctx)
	if err != nil {
		return nil, err
	}
	return &body[Keeping]{Keeping(k)}, nil
}

func (s *Server) putKeeping(ctx context.Context, in *body[Keeping]) (*body[Keeping], error) {
	err := s.change(ctx, func(tx *store.Tx) error { return tx.PutKeeping(telephony.Keeping(in.Body)) })
	if err != nil {
		return nil, err
	}
	return s.getKeeping(ctx, nil)
}
