package app

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/examples/shop/load"
	"github.com/contraflow/contraflow/examples/shop/seed"
)

const seeded = 3000

// TestNoRequestFailsInTheWholeWindow walks the plan forward and all the way back, by hand and in one go, while the load runs on
// two instances of the shop. Two, because an instance must also notice what only the other one was told.
func TestNoRequestFailsInTheWholeWindow(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	require.NoError(t, seed.Rows(t.Context(), b.pool, seeded))
	other, otherURL := b.instance()
	g, done := b.startLoad(b.balance(b.url, otherURL))
	// Enough requests after each change that every kind of them has met it, on both instances and every connection.
	settle := func(what string) {
		t.Helper()
		before := g.Stats().Requests
		require.Eventually(t, func() bool { return g.Stats().Requests >= before+300 }, 60*time.Second, 2*time.Millisecond, what)
		s := g.Stats()
		require.Zero(t, s.Failed, "%s: %s", what, s.LastError)
		require.Zero(t, s.WrongReads, what)
	}
	shapes := func(want string) {
		t.Helper()
		require.Equal(t, want, b.shop.Stats().Shape)
		require.Equal(t, want, other.Stats().Shape)
	}
	settle("before")
	forward := func() {
		migrate(t, b.db, "000002_add_street.up")
		settle("expand")
		for _, percent := range []int{10, 100} {
			b.writeNew(percent)
			settle("write-new")
		}
		shapes("both")
		b.db.Exec(t, backfill)
		for _, percent := range []int{25, 100} {
			b.readNew(percent)
			settle("read-new")
		}
	}
	forward()
	migrate(t, b.db, "000003_drop_address.up")
	settle("contract")
	shapes("new")

	// Back, with the flags as they are.
	migrate(t, b.db, "000003_drop_address.down")
	settle("contract undone")
	shapes("both")
	migrate(t, b.db, "000002_add_street.down")
	settle("expand undone under both flags")
	shapes("old")

	// Forward again, and back with retired flags, which serve false.
	b.writeNew(0)
	b.readNew(0)
	forward()
	migrate(t, b.db, "000003_drop_address.up")
	settle("contract again")
	b.writeNew(0)
	b.readNew(0)
	settle("flags retired")
	migrate(t, b.db, "000003_drop_address.down")
	settle("contract undone without flags")
	shapes("both")

	s := done()
	require.Positive(t, s.Creates)
	require.Positive(t, s.Updates)
	require.Positive(t, s.Reads)
}

// A write that only the new shape gets, on a table that has the old one again, would not fail: it would be lost.
func TestAnInstanceThatKnowsTheNewShapeOnlyNoticesTheOldOne(t *testing.T) {
	t.Parallel()
	b := setup(t, 3)
	_, url := b.instance()
	_, made := b.call("POST", "/customers", Customer{Address: "1 Street"})
	path := fmt.Sprint("/customers/", made.ID)
	_, got := call(t, "GET", url+path, nil)
	require.Equal(t, "1 Street", got.Address)

	migrate(t, b.db, "000003_drop_address.down")
	status, _ := b.call("PUT", path+"/address", map[string]string{"address": "2 Street"})
	require.Equal(t, http.StatusNoContent, status)
	require.Equal(t, "2 Street", b.column("address", made.ID))
	_, got = call(t, "GET", url+path, nil)
	require.Equal(t, "2 Street", got.Address, "the other instance was told nothing")
}

func TestTheLoadSeesAWrongValueInTheNewShape(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	require.NoError(t, seed.Rows(t.Context(), b.pool, seeded))
	b.writeNew(100)
	b.db.Exec(t, backfill)
	b.db.Exec(t, "update customers set street = street || '!' where id % 50 = 1")
	g, done := b.startLoad(b.url)
	require.Eventually(t, func() bool { return g.Stats().Requests > 500 }, 60*time.Second, 5*time.Millisecond)
	require.Zero(t, g.Stats().WrongReads, "nobody reads it")
	b.readNew(100)
	require.Eventually(t, func() bool { return g.Stats().WrongReads > 0 }, 60*time.Second, 5*time.Millisecond)
	require.Zero(t, done().Failed)
}

// startLoad runs the load until done is called, which gives the final counters.
func (b *bundle) startLoad(url string) (g *load.Generator, done func() load.Stats) {
	b.t.Helper()
	g, err := load.New(load.Options{BaseURL: url, Seeded: seeded, Seed: 1, Concurrency: 6})
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() { g.Run(ctx); close(ended) }()
	done = func() load.Stats { cancel(); <-ended; return g.Stats() }
	b.t.Cleanup(func() { done() })
	return g, done
}

// balance takes turns between instances.
func (b *bundle) balance(urls ...string) string {
	b.t.Helper()
	var turn atomic.Int64
	proxy := &httputil.ReverseProxy{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Rewrite: func(r *httputil.ProxyRequest) {
		target, err := url.Parse(urls[turn.Add(1)%int64(len(urls))])
		if err != nil {
			b.t.Error(err)
			return
		}
		r.SetURL(target)
	}}
	server := httptest.NewServer(proxy)
	b.t.Cleanup(server.Close)
	return server.URL
}
