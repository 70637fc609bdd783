package backfill_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
)

// standby speaks the streaming protocol as far as pg_stat_replication shows it: it tells the server what it has replayed, each
// time lag after it got it.
type standby struct {
	conn *pgconn.PgConn
	lag  time.Duration
}

func newStandby(t *testing.T, dsn string, lag time.Duration) *standby {
	t.Helper()
	config, err := pgconn.ParseConfig(dsn)
	require.NoError(t, err)
	config.RuntimeParams["replication"] = "true"
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	identity, err := conn.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll()
	require.NoError(t, err)
	conn.Frontend().Send(&pgproto3.Query{String: "START_REPLICATION PHYSICAL " + string(identity[0].Rows[0][2])})
	require.NoError(t, conn.Frontend().Flush())
	for {
		message, err := conn.ReceiveMessage(t.Context())
		require.NoError(t, err)
		if _, streaming := message.(*pgproto3.CopyBothResponse); streaming {
			return &standby{conn: conn, lag: lag}
		}
	}
}

// replay runs until ctx ends.
func (s *standby) replay(ctx context.Context) error {
	for {
		message, err := s.conn.ReceiveMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		data, ok := message.(*pgproto3.CopyData)
		if !ok {
			return fmt.Errorf("the server says %T", message)
		}
		if data.Data[0] != 'w' {
			continue
		}
		end := binary.BigEndian.Uint64(data.Data[1:]) + uint64(len(data.Data)-25)
		select {
		case <-time.After(s.lag):
		case <-ctx.Done():
			return nil
		}
		reply := []byte{'r'}
		for range 3 { // written, flushed, replayed
			reply = binary.BigEndian.AppendUint64(reply, end)
		}
		reply = append(binary.BigEndian.AppendUint64(reply, 0), 0)
		s.conn.Frontend().Send(&pgproto3.CopyData{Data: reply})
		if err := s.conn.Frontend().Flush(); err != nil {
			return err
		}
	}
}

// On a cluster of its own: a standby belongs to all databases.
func TestAStandbyThatLagsHolds(t *testing.T) {
	t.Parallel()
	cluster, err := postgres.Start(t.Context(), postgres.Options{Settings: map[string]string{"fsync": "off"}})
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	require.NoError(t, cluster.CreateRole(t.Context(), pgtest.Role))
	require.NoError(t, cluster.CreateDatabase(t.Context(), "shop", pgtest.Role))
	db := pgtest.Database{DSN: cluster.DSN(pgtest.Role, "shop"), SuperDSN: cluster.DSN(postgres.Superuser, "shop"), Name: "shop"}
	sql, spec := slow(endless)
	spec.Throttles = []backfill.Throttle{{Signal: backfill.ReplicaLag, Max: 0.4}}
	b := on(t, db, sql)
	last, stop, ended := b.watched(t, spec)
	require.Zero(t, *b.reading(t, "replica lag").Reading, "no standby, no lag")

	s := newStandby(t, db.SuperDSN, 500*time.Millisecond)
	ctx, end := context.WithCancel(t.Context())
	replayed := make(chan error, 1)
	go func() { replayed <- s.replay(ctx) }()
	holds(t, last, `replica lag cannot be read: the role may not see it: GRANT pg_monitor TO "migrator"`)
	super := newSuper(t, db)
	_, err = super.Exec(t.Context(), "grant pg_monitor to migrator").ReadAll()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		r := b.reading(t, "replica lag")
		return r.Holding && r.Reading != nil && *r.Reading > 0.4
	}, soon, tick)
	holds(t, last, " s, above 0.4 s")

	end()
	require.NoError(t, receive(t, replayed))
	_ = s.conn.Close(t.Context()) // it has gone away already where the context ended while it was listening
	require.Eventually(t, func() bool { return last.Load().Holding == "" }, soon, tick, "a standby that is gone does not lag")
	close(stop)
	require.ErrorIs(t, receive(t, ended), backfill.ErrStopped)
}

func newSuper(t *testing.T, db pgtest.Database) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), db.SuperDSN)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
