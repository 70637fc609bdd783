package health

import (
	"context"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func openPool(t *testing.T, db pgtest.Database) *pgxpool.Pool {
	t.Helper()
	pool, err := pg.Open(t.Context(), db.DSN, pg.Settings{MaxConns: 2})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func bound(v float64) *float64 { return &v }

func TestSQLProbeReadsOneNumber(t *testing.T) {
	t.Parallel()
	pool := openPool(t, pgtest.New(t))
	for _, c := range []struct {
		query    string
		min, max *float64
		text     string
		pass     bool
	}{
		{"select 0", nil, bound(0), "0, may be at most 0", true},
		{"select count(*) from generate_series(1, 3)", nil, bound(0), "3, may be at most 0", false},
		{"select 2::int2", bound(1), bound(2), "2, must be from 1 to 2", true},
		{"select 7::int8", bound(8), nil, "7, must be at least 8", false},
		{"select 0.25::numeric;", bound(0.25), nil, "0.25, must be at least 0.25", true},
		{"select 1.5::float4", nil, bound(1), "1.5, may be at most 1", false},
		{"select 'infinity'::float8", nil, bound(1), "+Inf, may be at most 1", false},
	} {
		p, err := newSQLProber(SQLProbe{Query: c.query, Min: c.min, Max: c.max}, pool)
		require.NoError(t, err)
		r, err := p.Probe(t.Context())
		require.NoError(t, err, c.query)
		require.Equal(t, Reading{Text: c.text, Pass: c.pass}, r)
	}
}

func TestSQLProbeErrsOnAnythingElse(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, "create table secrets (id int, word text); insert into secrets values (1, 'sesame'), (2, 'swordfish')")
	pool := openPool(t, db)
	for query, want := range map[string]string{
		"select id from secrets":                     "more than one row",
		"select id from secrets where false":         "no row",
		"select id, id from secrets limit 1":         "2 columns",
		"select word from secrets limit 1":           "not numeric",
		"select sum(id) from secrets where false":    "NULL",
		"select 'nan'::float8":                       "NaN",
		"select word::int from secrets":              "SQLSTATE 22P02",
		"select 1 from nowhere":                      "SQLSTATE 42P01",
		"delete from secrets returning 1":            "SQLSTATE 25006",
		"commit; delete from secrets":                "SQLSTATE 42601",
		"select count(*) from secrets, pg_sleep(30)": "no answer within 100ms",
	} {
		timeout := 30 * time.Second
		if strings.Contains(query, "pg_sleep") {
			timeout = 100 * time.Millisecond
		}
		p, err := newSQLProber(SQLProbe{Query: query, Max: bound(0), Timeout: timeout}, pool)
		require.NoError(t, err)
		_, err = p.Probe(t.Context())
		require.ErrorContains(t, err, want, query)
		require.NotContains(t, err.Error(), "sesame", query)
	}
	var left int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from secrets").Scan(&left))
	require.Equal(t, 2, left)
}

func TestSQLProbeWithoutDatabaseIsInconclusiveAndKeepsTheDSN(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open(t.Context(), "postgres://someone:hunter2@"+refusing+"/shop?sslmode=disable", pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	w, err := New([]Check{{Name: "c", SQL: &SQLProbe{Query: "select 0", Max: bound(0)}, Interval: tick}}, Targets{Pool: pool})
	require.NoError(t, err)
	v, err := w.Watch(t.Context(), long, nil, nil)
	require.NoError(t, err)
	require.Equal(t, Inconclusive, v.Outcome)
	require.Equal(t, "the database could not be reached", v.Reading)
}

func TestSQLCheckFollowsTheTable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, "create table customers (street text)")
	w, err := New([]Check{{Name: "c", Interval: tick,
		SQL: &SQLProbe{Query: "select count(*) from customers where street is null", Max: bound(0)}}}, Targets{Pool: openPool(t, db)})
	require.NoError(t, err)
	healthy := false
	v, err := w.Watch(t.Context(), long, nil, func(s []Standing) {
		if s[0].Outcome == Healthy && !healthy {
			healthy = true
			db.Exec(t, "alter table customers add number text; insert into customers values (null)")
		}
	})
	require.NoError(t, err)
	require.True(t, healthy)
	require.Equal(t, Failed, v.Outcome)
	require.Equal(t, "1, may be at most 0", v.Reading)
}

func TestSQLProbeRefusesBadBounds(t *testing.T) {
	t.Parallel()
	pool := openPool(t, pgtest.New(t))
	for want, p := range map[string]SQLProbe{
		"query is missing": {Max: bound(0)},
		"set max, min":     {Query: "select 1"},
		"min is above max": {Query: "select 1", Min: bound(2), Max: bound(1)},
		"must be numbers":  {Query: "select 1", Min: bound(math.NaN())},
		"not be negative":  {Query: "select 1", Min: bound(2), Timeout: -1},
	} {
		_, err := newSQLProber(p, pool)
		require.ErrorContains(t, err, want)
	}
}

// refusing is an address nothing listens on.
const refusing = "127.0.0.1:1"

func TestHTTPProbe(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
	})
	mux.HandleFunc("/redirects/{left}", func(w http.ResponseWriter, r *http.Request) {
		if left, _ := strconv.Atoi(r.PathValue("left")); left > 0 {
			http.Redirect(w, r, "/redirects/"+strconv.Itoa(left-1), http.StatusFound)
		}
	})
	mux.HandleFunc("/hang", func(http.ResponseWriter, *http.Request) { <-released })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write([]byte(strings.Repeat("x", 1<<16))); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/break", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(released) })

	const brief, ample = 300 * time.Millisecond, 30 * time.Second
	for _, c := range []struct {
		url     string
		status  int
		timeout time.Duration
		text    string
		pass    bool
	}{
		{server.URL + "/status/200", 0, ample, "status 200", true},
		{server.URL + "/status/503", 0, ample, "status 503, must be 200", false},
		{server.URL + "/status/204", 204, ample, "status 204", true},
		{server.URL + "/redirects/5", 0, ample, "status 200", true},
		{server.URL + "/redirects/6", 0, ample, "more than 5 redirects", false},
		{server.URL + "/redirects/1", 302, ample, "status 302", true},
		{server.URL + "/endless", 0, ample, "status 200", true},
		{server.URL + "/break", 0, ample, "no answer: the connection broke", false},
		{server.URL + "/hang", 0, brief, "no answer within 300ms", false},
		{"http://" + refusing + "/healthz?token=hunter2", 0, ample, "no answer: connection refused", false},
	} {
		p, err := newHTTPProber(HTTPProbe{URL: c.url, Status: c.status, Timeout: c.timeout}, server.Client())
		require.NoError(t, err)
		r, err := p.Probe(t.Context())
		require.NoError(t, err, c.url)
		require.Equal(t, Reading{Text: c.text, Pass: c.pass}, r, c.url)
	}

	unknown := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "shop.invalid", IsNotFound: true}
	}}}
	p, err := newHTTPProber(HTTPProbe{URL: "http://shop.invalid/?token=hunter2"}, unknown)
	require.NoError(t, err)
	_, err = p.Probe(t.Context())
	require.EqualError(t, err, "the host name of the url cannot be resolved from here")
}
