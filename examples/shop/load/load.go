// Package load keeps a shop busy and checks every answer: what was written must be read, whatever is done to the table meanwhile.
package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	defaultConcurrency = 8
	// requestTimeout: a request that waits behind a lock for longer has failed as far as its customer is concerned.
	requestTimeout = 10 * time.Second
	// Of 100 requests this many create a customer, and this many move one; the others read.
	createPercent, movePercent = 10, 30
	// maxAnswer bounds what is read of an answer: a customer is a few hundred bytes.
	maxAnswer = 64 << 10
)

// Options of a load.
type Options struct {
	// BaseURL of the shop, as in http://127.0.0.1:8080.
	BaseURL string
	// Concurrency is how many requests are under way at most. Defaults to 8.
	Concurrency int
	// Rate in requests per second. Defaults to 0: as many as the shop answers.
	Rate float64
	// Seeded customers: those with ids 1 to Seeded follow package seed. One in ten of them is updated, so only one load may run
	// on a table at a time, but any number one after the other. Defaults to none.
	Seeded int64
	// Seed of the random choices. Defaults to 0.
	Seed uint64
}

// Generator of load. Make it with New.
type Generator struct {
	options Options
	client  *http.Client
	limit   *rate.Limiter
	book    *book
	counter counter
}

// New validates the options.
func New(o Options) (*Generator, error) {
	switch {
	case !strings.HasPrefix(o.BaseURL, "http://") && !strings.HasPrefix(o.BaseURL, "https://"):
		return nil, errors.New("load: the shop's address must be a URL, as in http://127.0.0.1:8080")
	case o.Concurrency < 0 || o.Rate < 0 || o.Seeded < 0:
		return nil, errors.New("load: concurrency, rate and number of seeded customers must not be negative")
	}
	o.BaseURL = strings.TrimSuffix(o.BaseURL, "/")
	if o.Concurrency == 0 {
		o.Concurrency = defaultConcurrency
	}
	limit := rate.Inf
	if o.Rate > 0 {
		limit = rate.Limit(o.Rate)
	}
	return &Generator{
		options: o,
		// One idle connection per worker, or most requests would open a new one.
		client: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: o.Concurrency}},
		limit:  rate.NewLimiter(limit, 1),
		book:   newBook(o.Seeded),
	}, nil
}

// Run until ctx ends; requests under way then are waited for. Call it once. Stats may be read meanwhile.
func (g *Generator) Run(ctx context.Context) {
	defer g.client.CloseIdleConnections()
	var workers sync.WaitGroup
	for worker := range g.options.Concurrency {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(g.options.Seed, uint64(worker)))
			for g.limit.Wait(ctx) == nil && ctx.Err() == nil {
				g.once(context.WithoutCancel(ctx), random)
			}
		})
	}
	workers.Wait()
}

// ReadBack reads every customer that was written to and is still remembered, once and as fast as the shop answers, and counts
// as Run does. Call it when Run has returned. It returns how many there are; ctx ends it early.
func (g *Generator) ReadBack(ctx context.Context) int {
	defer g.client.CloseIdleConnections()
	all := g.book.remembered()
	next := make(chan *read)
	var workers sync.WaitGroup
	for range g.options.Concurrency {
		workers.Go(func() {
			for r := range next {
				g.read(context.WithoutCancel(ctx), r)
			}
		})
	}
	for _, r := range all {
		if ctx.Err() != nil {
			break
		}
		next <- r
	}
	close(next)
	workers.Wait()
	return len(all)
}

// Stats as they are now.
func (g *Generator) Stats() Stats { return g.counter.stats() }

// once sends one request. If the choice falls on a customer that is taken, it creates one instead.
func (g *Generator) once(ctx context.Context, random *rand.Rand) {
	address := fmt.Sprintf("%d New Road %d", random.IntN(1000), random.Int64())
	switch choice := random.IntN(100); {
	case choice < createPercent:
	case choice < createPercent+movePercent:
		if w, ok := g.book.beginWrite(random, address); ok {
			g.move(ctx, w)
			return
		}
	default:
		if r, ok := g.book.beginRead(random); ok {
			g.read(ctx, r)
			return
		}
	}
	g.create(ctx, random, address)
}

type customer struct {
	ID      int64  `json:"id,omitempty"`
	Name    string `json:"name"`
	Email   string `json:"email"`
	Address string `json:"address"`
}

func (g *Generator) create(ctx context.Context, random *rand.Rand, address string) {
	name := fmt.Sprintf("Visitor %d", random.Int64())
	var made customer
	if g.do(ctx, http.MethodPost, "/customers", "/customers",
		customer{Name: name, Email: "visitor@example.com", Address: address}, &made) {
		g.counter.creates.Add(1)
		g.book.add(made.ID, address)
	}
}

func (g *Generator) move(ctx context.Context, w *write) {
	body := struct {
		Address string `json:"address"`
	}{w.address}
	ok := g.do(ctx, http.MethodPut, path(w.id)+"/address", "/customers/{id}/address", body, nil)
	g.book.endWrite(w, ok)
	if ok {
		g.counter.updates.Add(1)
	}
}

func (g *Generator) read(ctx context.Context, r *read) {
	var got customer
	ok := g.do(ctx, http.MethodGet, path(r.id), "/customers/{id}", nil, &got)
	right := g.book.endRead(r)
	if !ok {
		return
	}
	g.counter.reads.Add(1)
	if got.ID != r.id || !slices.Contains(right, got.Address) {
		g.counter.wrongReads.Add(1)
	}
}

func path(id int64) string { return "/customers/" + strconv.FormatInt(id, 10) }

// do one request and count it; false if it failed. route names it in LastError, which must not hold a customer's id.
func (g *Generator) do(ctx context.Context, method, path, route string, in, out any) bool {
	began := time.Now()
	err := g.exchange(ctx, method, path, in, out)
	g.counter.count(time.Since(began), method+" "+route, err)
	return err == nil
}

func (g *Generator) exchange(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, g.options.BaseURL+path, body)
	if err != nil {
		return errors.New("the request could not be made")
	}
	response, err := g.client.Do(request)
	if err != nil {
		return errors.New("no answer")
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return errors.New("the answer broke off")
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	if out != nil && json.Unmarshal(text, out) != nil {
		return errors.New("the answer is no customer")
	}
	return nil
}
