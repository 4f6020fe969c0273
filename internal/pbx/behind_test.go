package pbx

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/telephony"
)

func TestRecordsWaitOutAFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var full atomic.Bool
		full.Store(true)
		var written []telephony.CallRecord
		r := newRecords(slog.New(slog.DiscardHandler))
		r.calls = func(_ context.Context, batch []telephony.CallRecord) error {
			if full.Load() {
				return errors.New("disk full")
			}
			written = append(written, batch...)
			return nil
		}
		go r.run(ctx)
		for _, id := range []telephony.CallID{"a", "b"} {
			r.Add(telephony.CallRecord{ID: id})
		}
		time.Sleep(5 * time.Second)
		full.Store(false)
		r.Add(telephony.CallRecord{ID: "c"})
		time.Sleep(2 * time.Second)
		cancel()
		<-r.done
		if len(written) != 3 || written[0].ID != "a" || written[2].ID != "c" {
			t.Errorf("written %+v", written)
		}
	})
}

func TestRecordsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRecords(slog.New(slog.DiscardHandler))
	for range maxPending + 5 {
		r.Add(telephony.CallRecord{})
	}
	if len(r.pending) != maxPending || r.lost != 5 {
		t.Errorf("%d pending, %d lost", len(r.pending), r.lost)
	}
}
