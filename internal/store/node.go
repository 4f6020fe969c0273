package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"ringfence/internal/telephony"
)

// bootNode counts this start of the machine. The first start names it.
func bootNode(ctx context.Context, tx *sql.Tx) (id telephony.NodeID, epoch uint64, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE node SET epoch = epoch + 1 RETURNING id, epoch`).Scan(&id, &epoch)
	if errors.Is(err, sql.ErrNoRows) {
		b := make([]byte, 4)
		rand.Read(b)
		id, epoch = telephony.NodeID(hex.EncodeToString(b)), 1
		_, err = tx.ExecContext(ctx, `INSERT INTO node (id, epoch) VALUES (?, 1)`, string(id))
	}
	if err != nil {
		return "", 0, fmt.Errorf("counting the start: %w", err)
	}
	return id, epoch, nil
}
