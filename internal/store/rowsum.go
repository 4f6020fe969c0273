package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite's integrity_check sees broken structure but not a changed value in a
// row. So each table has a sum over the keyed hashes of its rows (added
// modulo 2^256: order does not matter, rows can be added and taken away one by
// one). SQLite's pre-update hook shows every row before it changes, so no
// statement can forget to keep the sums; they are stored in the same
// transaction and compared with the tables when the database is opened.

const sumTable = "row_sum"

// rowSum is the number of rows and the sum of their hashes.
type rowSum struct {
	count int64
	sum   [32]byte
}

func (s *rowSum) add(h [32]byte) {
	carry := uint16(0)
	for i := len(h) - 1; i >= 0; i-- {
		carry += uint16(s.sum[i]) + uint16(h[i])
		s.sum[i] = byte(carry)
		carry >>= 8
	}
	s.count++
}

func (s *rowSum) sub(h [32]byte) {
	borrow := int16(0)
	for i := len(h) - 1; i >= 0; i-- {
		d := int16(s.sum[i]) - int16(h[i]) - borrow
		borrow = 0
		if d < 0 {
			d += 256
			borrow = 1
		}
		s.sum[i] = byte(d)
	}
	s.count--
}

func (s *rowSum) merge(d rowSum) {
	s.count += d.count - 1 // add counts one
	s.add(d.sum)
}

// maxRowBuffer is the largest room for a row's encoding that is kept.
const maxRowBuffer = 64 << 10

// rowHasher hashes rows. It is not safe for concurrent use.
type rowHasher struct {
	mac hash.Hash
	buf []byte
}

// hash is the keyed hash of a table's row; every value is tagged with its type
// and length, so that no two rows have one encoding.
func (h *rowHasher) hash(table string, row []any) (sum [32]byte, err error) {
	b := appendText(h.buf[:0], 't', table)
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v))
		case string:
			b = appendText(b, 's', v)
		case []byte:
			b = appendText(b, 'b', string(v))
		default:
			return sum, fmt.Errorf("hashing a row of %s: no encoding for %T", table, v)
		}
	}
	if h.buf = b; cap(b) > maxRowBuffer {
		h.buf = nil
	}
	h.mac.Reset()
	h.mac.Write(b)
	h.mac.Sum(sum[:0])
	return sum, nil
}

func appendText(b []byte, tag byte, s string) []byte {
	b = binary.BigEndian.AppendUint64(append(b, tag), uint64(len(s)))
	return append(b, s...)
}

// sumKeeper collects the difference a transaction makes to the sums. The
// writer's hook feeds it; one transaction uses it at a time.
type sumKeeper struct {
	hasher rowHasher
	delta  map[string]*rowSum
	row    []any
	err    error
}

func newSumKeeper(k *keys) *sumKeeper {
	return &sumKeeper{hasher: rowHasher{mac: k.rowMAC()}, delta: make(map[string]*rowSum)}
}

func (k *sumKeeper) reset() {
	clear(k.delta)
	k.err = nil
}

// onChange is the pre-update hook of the writer.
func (k *sumKeeper) onChange(u sqlite.SQLitePreUpdateData) {
	if u.DatabaseName != "main" || u.TableName == sumTable {
		return
	}
	if u.Op != sqlite3.SQLITE_INSERT {
		k.account(u.TableName, u.Count(), u.Old, (*rowSum).sub)
	}
	if u.Op != sqlite3.SQLITE_DELETE {
		k.account(u.TableName, u.Count(), u.New, (*rowSum).add)
	}
}

func (k *sumKeeper) account(table string, columns int, read func(...any) error, apply func(*rowSum, [32]byte)) {
	k.row = slices.Grow(k.row[:0], columns)[:columns]
	clear(k.row)
	if err := read(k.row...); err != nil {
		k.err = errors.Join(k.err, fmt.Errorf("reading a changed row of %s: %w", table, err))
		return
	}
	h, err := k.hasher.hash(table, k.row)
	clear(k.row) // a row may be of megabytes, and is not to be kept
	if err != nil {
		k.err = errors.Join(k.err, err)
		return
	}
	d := k.delta[table]
	if d == nil {
		d = &rowSum{}
		k.delta[table] = d
	}
	apply(d, h)
}

// flush stores the new sums; it is the last write of a transaction.
func (k *sumKeeper) flush(ctx context.Context, tx *sql.Tx) error {
	if k.err != nil {
		return k.err
	}
	for table, d := range k.delta {
		if *d == (rowSum{}) {
			continue
		}
		sum, err := storedSum(ctx, tx, table)
		if err != nil {
			return err
		}
		sum.merge(*d)
		if err := storeSum(ctx, tx, table, sum); err != nil {
			return err
		}
	}
	return nil
}

func storedSum(ctx context.Context, q queryer, table string) (rowSum, error) {
	var s rowSum
	var sum []byte
	err := q.QueryRowContext(ctx, `SELECT count, sum FROM row_sum WHERE name = ?`, table).Scan(&s.count, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("reading row sum of %s: %w", table, err)
	}
	if copy(s.sum[:], sum) != len(s.sum) || len(sum) != len(s.sum) {
		return s, fmt.Errorf("row sum of %s has %d bytes", table, len(sum))
	}
	return s, nil
}

func storeSum(ctx context.Context, tx *sql.Tx, table string, s rowSum) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO row_sum (name, count, sum) VALUES (?1, ?2, ?3)
		ON CONFLICT (name) DO UPDATE SET count = ?2, sum = ?3`, table, s.count, s.sum[:])
	if err != nil {
		return fmt.Errorf("storing row sum of %s: %w", table, err)
	}
	return nil
}

// tableSum reads a whole table and sums it.
func tableSum(ctx context.Context, q queryer, k *keys, table string) (rowSum, error) {
	var s rowSum
	h := rowHasher{mac: k.rowMAC()}
	// The name comes from tables(), which lists our own schema.
	rows, err := q.QueryContext(ctx, `SELECT * FROM "`+table+`"`)
	if err != nil {
		return s, fmt.Errorf("reading table %s: %w", table, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return s, fmt.Errorf("reading table %s: %w", table, err)
	}
	row, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		dest[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return s, fmt.Errorf("reading table %s: %w", table, err)
		}
		sum, err := h.hash(table, row)
		if err != nil {
			return s, err
		}
		s.add(sum)
	}
	if err := rows.Err(); err != nil {
		return s, fmt.Errorf("reading table %s: %w", table, err)
	}
	return s, nil
}

// tables lists our tables except the sums themselves.
func tables(ctx context.Context, q queryer) ([]string, error) {
	return collect(ctx, q, func(scan func(...any) error) (name string, err error) { return name, scan(&name) },
		`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'row_sum' ORDER BY name`)
}

// compareSum says whether a table holds what its sum says.
func compareSum(ctx context.Context, q queryer, k *keys, table string) error {
	want, err := storedSum(ctx, q, table)
	if err != nil {
		return err
	}
	got, err := tableSum(ctx, q, k, table)
	if err != nil {
		return err
	}
	if got.count != want.count {
		return fmt.Errorf("table %s has %d rows, not %d", table, got.count, want.count)
	}
	if subtle.ConstantTimeCompare(got.sum[:], want.sum[:]) != 1 {
		return fmt.Errorf("a row of table %s was changed from outside", table)
	}
	return nil
}
