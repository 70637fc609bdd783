package ledger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/ledger"
)

// standing is where a process stands still: before it sends a statement, once.
type standing struct {
	at       string
	once     sync.Once
	here, on chan struct{}
}

// stiff is its connection, which the kernel keeps open.
type stiff struct {
	net.Conn
	*standing
}

func (s stiff) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(s.at)) {
		s.once.Do(func() {
			close(s.here)
			<-s.on
		})
	}
	return s.Conn.Write(b)
}

// The worker stands still before the second statement of what it does, and goes on when its successor has.
func TestAWorkerThatStandsStillDoesNotHoldUpItsSuccessor(t *testing.T) {
	t.Parallel()
	record := ledger.Record{Step: "s", Before: json.RawMessage(`{}`), Ours: json.RawMessage(`[]`)}
	for name, at := range map[string]struct {
		statement string
		work      func(t *testing.T, worker *ledger.Ledger, kept ledger.Record) error
	}{
		"keeps a flag": {"insert into contraflow.flag_use", func(t *testing.T, worker *ledger.Ledger, _ ledger.Record) error {
			_, err := worker.KeepFlag(t.Context(), "p", first, shopScope, "another", record, false)
			return err
		}},
		"forgets a flag": {"delete from contraflow.flag_record", func(t *testing.T, worker *ledger.Ledger, kept ledger.Record) error {
			return worker.ForgetFlag(t.Context(), "p", first, "f", kept, json.RawMessage(`{}`))
		}},
		"closes the plan": {"delete from contraflow.flag_record", func(t *testing.T, worker *ledger.Ledger, _ ledger.Record) error {
			return worker.Close(t.Context(), "p", first, "completed", true)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, pool := setup(t)
			kept := recorded(t, l, "p", "s", "f")
			still := &standing{at: at.statement, here: make(chan struct{}), on: make(chan struct{})}
			config := pool.Config()
			config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return stiff{conn, still}, err
			}
			pooled, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(pooled.Close)
			late := make(chan error, 1)
			go func() { late <- at.work(t, ledger.New(pooled), kept) }()
			<-still.here
			require.NoError(t, l.Undoing(t.Context(), "p", first))
			require.NoError(t, l.Claim(t.Context(), "p", "h", second, first))
			close(still.on)
			require.Error(t, <-late)
			left, err := l.Records(t.Context(), "p", "f")
			require.NoError(t, err)
			require.Len(t, left, 1)
			require.Equal(t, kept.Mark, left[0].Mark)
		})
	}
}
