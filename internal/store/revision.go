package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"fmt"
	"io"
	"time"

	"ringfence/internal/telephony"
)

// Bounds of the kept documents: the oldest give way.
const (
	maxRevisions    = 500
	maxRevisionSize = 64 << 20 // bytes of all, as they are kept
	maxRevisionText = 64 << 20 // bytes of one, as it was
)

// Revision is a document of the configuration that was kept.
type Revision struct {
	Rev   uint64
	At    time.Time
	Bytes int             // as it is kept
	Actor telephony.Actor // who made the last change in it
	Kind  string          // what that was
}

// KeepRevision keeps the document of a revision of the settings. Its secrets must
// be sealed.
func (s *Store) KeepRevision(ctx context.Context, rev uint64, document []byte) error {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(document); err != nil {
		return fmt.Errorf("packing revision %d: %w", rev, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("packing revision %d: %w", rev, err)
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO revision (rev, at, document) VALUES (?1, ?2, ?3) ON CONFLICT (rev) DO NOTHING`, int64(rev), micros(time.Now()), packed.Bytes())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM revision WHERE rev IN (SELECT rev FROM (
			SELECT rev, row_number() OVER newest AS n, sum(length(document)) OVER newest AS size FROM revision WINDOW newest AS (ORDER BY rev DESC))
			WHERE n > ?1 OR n > 1 AND size > ?2)`, maxRevisions, maxRevisionSize)
		return err
	})
	if err != nil {
		return fmt.Errorf("keeping revision %d: %w", rev, err)
	}
	return nil
}

// Revisions lists the kept documents, the newest first.
func (s *Store) Revisions(ctx context.Context) ([]Revision, error) {
	scan := func(scan func(...any) error) (r Revision, err error) {
		var at int64
		var addr string
		err = scan(&r.Rev, &at, &r.Bytes, &r.Actor.Kind, &r.Actor.Name, &addr, &r.Kind)
		r.At, r.Actor.Addr = fromMicros(at), parseAddr(addr)
		return r, err
	}
	// The first entry of the history that bears a revision's number is the change
	// which made it; later ones are log-ins and the like.
	out, err := collect(ctx, s.readers, scan, `SELECT r.rev, coalesce(c.at, r.at), length(r.document), coalesce(c.actor_kind, ''), coalesce(c.actor_name, ''), coalesce(c.actor_addr, ''), coalesce(c.kind, '')
		FROM revision r LEFT JOIN change c ON c.seq = (SELECT min(seq) FROM change WHERE rev = r.rev) ORDER BY r.rev DESC`)
	if err != nil {
		return nil, fmt.Errorf("listing revisions: %w", err)
	}
	return out, nil
}

// RevisionDocument is the document of a kept revision.
func (s *Store) RevisionDocument(ctx context.Context, rev uint64) ([]byte, error) {
	var packed []byte
	err := s.readers.QueryRowContext(ctx, `SELECT document FROM revision WHERE rev = ?`, int64(rev)).Scan(&packed)
	if err != nil {
		return nil, fmt.Errorf("reading revision %d: %w", rev, notFound(err))
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpacking revision %d: %w", rev, err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxRevisionText))
	if err != nil {
		return nil, fmt.Errorf("unpacking revision %d: %w", rev, err)
	}
	return text, nil
}
