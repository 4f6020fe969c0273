package store

import (
	"context"
	"database/sql"
	"testing"
)

// TestRevisionsAreBounded in number: the oldest give way.
func TestRevisionsAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t)
	err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 520)
			INSERT INTO revision (rev, at, document) SELECT i, i, x'00' FROM n`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.KeepRevision(t.Context(), 521, []byte("version: 1")); err != nil {
		t.Fatal(err)
	}
	list, err := s.Revisions(t.Context())
	if err != nil || len(list) != maxRevisions || list[0].Rev != 521 || list[maxRevisions-1].Rev != 22 {
		t.Errorf("%d kept, %v", len(list), err)
	}
	if text, err := s.RevisionDocument(t.Context(), 521); err != nil || string(text) != "version: 1" {
		t.Errorf("%q %v", text, err)
	}
	if _, err := s.RevisionDocument(t.Context(), 21); err == nil {
		t.Error("the oldest is still there")
	}
}
