package load

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/examples/shop/seed"
)

const seeded = 200

// shop keeps customers in a map, and goes wrong where the test says so.
type shop struct {
	mu        sync.Mutex
	addresses map[int64]string
	// loseWrites acknowledges updates and drops them; fail answers 503.
	loseWrites, fail bool
}

func newShop(t *testing.T) (*shop, string) {
	t.Helper()
	s := &shop{addresses: map[int64]string{}}
	for id := int64(1); id <= seeded; id++ {
		s.addresses[id] = seed.Address(id)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /customers", s.with(func(_ int64, in customer) any {
		in.ID = int64(len(s.addresses) + 1)
		s.addresses[in.ID] = in.Address
		return in
	}))
	mux.HandleFunc("GET /customers/{id}", s.with(func(id int64, _ customer) any {
		return customer{ID: id, Address: s.addresses[id]}
	}))
	mux.HandleFunc("PUT /customers/{id}/address", s.with(func(id int64, in customer) any {
		if !s.loseWrites {
			s.addresses[id] = in.Address
		}
		return in
	}))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return s, server.URL
}

func (s *shop) with(do func(int64, customer) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in customer
		_ = json.NewDecoder(r.Body).Decode(&in)
		id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fail {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(do(id, in))
	}
}

func (s *shop) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// start a load that ends with done.
func start(t *testing.T, o Options) (g *Generator, done func() Stats) {
	t.Helper()
	g, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { g.Run(ctx); close(ended) }()
	done = func() Stats { cancel(); <-ended; return g.Stats() }
	t.Cleanup(func() { done() })
	return g, done
}

func until(t *testing.T, g *Generator, condition func(Stats) bool) {
	t.Helper()
	require.Eventually(t, func() bool { return condition(g.Stats()) }, 2*time.Minute, time.Millisecond)
}

func requests(n int64) func(Stats) bool { return func(s Stats) bool { return s.Requests >= n } }

func TestAnHonestShopIsNeverAccused(t *testing.T) {
	t.Parallel()
	_, url := newShop(t)
	// Few customers and many workers: reads and writes of one customer overlap all the time.
	g, done := start(t, Options{BaseURL: url + "/", Seeded: 20, Concurrency: 16})
	until(t, g, requests(5000))
	s := done()
	require.Zero(t, s.Failed, s.LastError)
	require.Zero(t, s.WrongReads)
	require.Equal(t, s.Requests, s.Creates+s.Reads+s.Updates)
	require.Positive(t, s.Creates)
	require.Positive(t, s.Reads)
	require.Positive(t, s.Updates)
	require.Positive(t, s.P99)

	// A second run knows nothing of what the first one moved, and accuses nobody of it.
	g, done = start(t, Options{BaseURL: url, Seeded: 20, Seed: 7})
	until(t, g, requests(2000))
	require.Zero(t, done().WrongReads)
}

func TestALostWriteIsAWrongRead(t *testing.T) {
	t.Parallel()
	s, url := newShop(t)
	g, done := start(t, Options{BaseURL: url, Seeded: seeded})
	until(t, g, requests(500))
	require.Zero(t, g.Stats().WrongReads)
	s.set(func() { s.loseWrites = true })
	until(t, g, func(s Stats) bool { return s.WrongReads > 0 })
	require.Zero(t, done().Failed)
}

func TestAWrongSeededValueIsAWrongRead(t *testing.T) {
	t.Parallel()
	s, url := newShop(t)
	s.set(func() { s.addresses[7] += "!" })
	g, _ := start(t, Options{BaseURL: url, Seeded: seeded})
	until(t, g, func(s Stats) bool { return s.WrongReads > 0 })
}

func TestReadingBackFindsWhatWasLostAfterwards(t *testing.T) {
	t.Parallel()
	s, url := newShop(t)
	g, done := start(t, Options{BaseURL: url, Seeded: seeded})
	until(t, g, func(s Stats) bool { return s.Updates > 20 && s.Creates > 20 })
	before := done()
	n := g.ReadBack(t.Context())
	require.Greater(t, n, 20)
	require.Equal(t, before.Reads+int64(n), g.Stats().Reads)
	require.Zero(t, g.Stats().WrongReads)

	s.set(func() { s.addresses[seeded+1] += "!" })
	g.ReadBack(t.Context())
	require.EqualValues(t, 1, g.Stats().WrongReads)
}

func TestFailuresAreCountedAndNameNoCustomer(t *testing.T) {
	t.Parallel()
	s, url := newShop(t)
	s.set(func() { s.fail = true })
	g, _ := start(t, Options{BaseURL: url, Seeded: seeded})
	until(t, g, func(s Stats) bool { return s.Failed > 50 })
	require.Regexp(t, `^(GET /customers/\{id\}|PUT /customers/\{id\}/address|POST /customers): status 503$`, g.Stats().LastError)

	// Writes that failed may or may not have taken effect: both are right until the next write succeeds.
	s.set(func() { s.fail = false })
	until(t, g, func(s Stats) bool { return s.Reads > 2000 })
	require.Zero(t, g.Stats().WrongReads)

	g, _ = start(t, Options{BaseURL: "http://127.0.0.1:1", Concurrency: 1})
	until(t, g, func(s Stats) bool { return s.Failed > 1 })
	require.Equal(t, "POST /customers: no answer", g.Stats().LastError)
}

func TestTheRateIsKept(t *testing.T) {
	t.Parallel()
	_, url := newShop(t)
	began := time.Now()
	g, done := start(t, Options{BaseURL: url, Rate: 200})
	until(t, g, requests(100))
	require.Greater(t, time.Since(began), 450*time.Millisecond)
	done()
}

func TestTheEndIsNoFailure(t *testing.T) {
	t.Parallel()
	_, url := newShop(t)
	for range 20 {
		g, done := start(t, Options{BaseURL: url, Concurrency: 16})
		until(t, g, requests(20))
		s := done()
		require.Zero(t, s.Failed, s.LastError)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := New(Options{BaseURL: "localhost:8080"})
	require.ErrorContains(t, err, "must be a URL")
	_, err = New(Options{BaseURL: "http://x", Rate: -1})
	require.ErrorContains(t, err, "negative")
}

func TestTheBookForgetsTheOldestCreated(t *testing.T) {
	t.Parallel()
	b := newBook(0)
	for id := range int64(maxCreated + 10) {
		b.add(id+1, "1 Street")
	}
	require.Len(t, b.entries, maxCreated)
	require.NotContains(t, b.entries, int64(10))
	require.Contains(t, b.entries, int64(11))
	require.Contains(t, b.entries, int64(maxCreated+10))
}
