package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPaceFindsTheChunkTimeAndStaysBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		perRow := time.Duration(rapid.Int64Range(int64(10*time.Microsecond), int64(5*time.Millisecond)).Draw(t, "time per row"))
		p := pace{target: DefaultChunkTime, rows: rapid.IntRange(1, maxChunkRows).Draw(t, "first chunk")}
		for range 20 {
			before := p.rows
			p.took(int64(p.rows), time.Duration(p.rows)*perRow)
			require.LessOrEqual(t, p.rows, max(before*2, minChunkRows))
			require.GreaterOrEqual(t, p.rows, before/2)
		}
		require.InEpsilon(t, DefaultChunkTime, time.Duration(p.rows)*perRow, 0.1)
		for range 20 {
			p.lost()
		}
		require.Equal(t, minChunkRows, p.rows)
	})
}

func TestAChunkCutShortTeachesOnlyThatItWasSlow(t *testing.T) {
	t.Parallel()
	p := pace{target: time.Second, rows: 1000}
	p.took(10, time.Millisecond)
	require.Equal(t, 1000, p.rows)
	p.took(100, 2*time.Second)
	require.Equal(t, 50, p.rows)
}

func TestOwedUnderACap(t *testing.T) {
	t.Parallel()
	require.Equal(t, 500*time.Millisecond, owed(50, 100))
	require.Equal(t, time.Second, owed(1_000_000, 100), "a chunk from before the cap does not hold the lane for hours")
	require.Equal(t, 4*time.Second, owed(1, 0.25))
	require.Zero(t, owed(0, 100))
}

func TestRateIsSmoothedAndDecays(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := rate{since: now}
	for range 60 {
		now = now.Add(200 * time.Millisecond)
		r.add(1000, now)
	}
	require.InEpsilon(t, 5000, r.perSecond, 0.01)
	now = now.Add(200 * time.Millisecond)
	r.add(0, now)
	require.Greater(t, r.perSecond, 4000.0)
	r.add(0, now.Add(time.Minute))
	require.Less(t, r.perSecond, 1.0)
}

func TestLastingContentionIsForTheCaller(t *testing.T) {
	t.Parallel()
	a := attempt{lost: maxContended, pace: pace{rows: minChunkRows}}
	err := a.giveWay(t.Context(), "lock timeout", rowError("change a chunk", &pgconn.PgError{Code: "55P03"}))
	require.ErrorIs(t, err, ErrContended)
	require.False(t, Permanent(err))
}

func TestErrorTextsHoldNoValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from pgconn.PgError
		want string
	}{
		{pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type integer: "Bob "the" Bold"`, Detail: "Bob"},
			"fill: SQLSTATE 22P02 (invalid_text_representation): invalid input syntax for type integer: “…”"},
		{pgconn.PgError{Code: "22P02", Message: `ungültige Eingabesyntax für Typ integer: »Bob«`},
			"fill: SQLSTATE 22P02 (invalid_text_representation): ungültige Eingabesyntax für Typ integer: “…”"},
		{pgconn.PgError{Code: "22021", Message: `invalid byte sequence for encoding "UTF8": 0xff42`},
			"fill: SQLSTATE 22021 (character_not_in_repertoire): invalid byte sequence for encoding “…”: …"},
		{pgconn.PgError{Code: "23514", Message: `new row for relation "t" violates check constraint "small"`, ConstraintName: "small"},
			`fill: SQLSTATE 23514 (check_violation): new row for relation “…”, constraint "small"`},
		{pgconn.PgError{Code: "P0001", Message: "Bob is poison"}, "fill: SQLSTATE P0001 (raise_exception)"},
		{pgconn.PgError{Code: "22000", Message: "Bob is poison", Where: "PL/pgSQL function no() line 1 at RAISE"}, "fill: SQLSTATE 22000"},
	} {
		require.Equal(t, c.want, rowError("fill", &c.from).Error())
		require.True(t, Permanent(rowError("fill", &c.from)))
	}
}

func TestLostConnectionsPassAndNameNoAddress(t *testing.T) {
	t.Parallel()
	for cause, want := range map[error]string{
		fmt.Errorf("dial db.internal:5432 as bob: %w", syscall.ECONNREFUSED): "fill: no connection to Postgres: connection refused",
		fmt.Errorf("read db.internal: %w", io.ErrUnexpectedEOF):              "fill: no connection to Postgres: the server hung up",
		&net.OpError{Op: "postgres://bob:hunter2@db.internal"}:               "fill: no connection to Postgres",
		fmt.Errorf("read db.internal: %w", context.DeadlineExceeded):         "fill: no connection to Postgres",
	} {
		err := rowError("fill", cause)
		require.EqualError(t, err, want)
		require.ErrorIs(t, err, ErrConnection)
		require.False(t, Permanent(err))
	}
	other := rowError("fill", errors.New("cannot encode S3CRET"))
	require.NotErrorIs(t, other, ErrConnection)
	require.EqualError(t, other, "fill: failed on our side with a *errors.errorString; its words are withheld, for they may hold row values")
	why, contended := contention(rowError("transform", &pgconn.PgError{Code: "25P03"}))
	require.True(t, contended)
	require.Equal(t, "idle-in-transaction timeout", why)
	for _, code := range []string{"57P01", "57P03", "40P01", "53300", "25006", "55P03"} {
		require.False(t, Permanent(rowError("fill", &pgconn.PgError{Code: code})), code)
	}
}
