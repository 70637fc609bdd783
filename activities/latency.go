package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/contraflow/contraflow/health"
	"github.com/contraflow/contraflow/plan"
)

const (
	// latencyTimeout bounds one reading: what can't be read for that long is no news of this moment any more.
	latencyTimeout = 2 * time.Second
	// maxLatencyPage is far above a page of metrics that is meant to be read every second.
	maxLatencyPage = 1 << 20
)

// latency makes the reader of a latency that a backfill protects. Its errors hold no URL and nothing of what was read.
func (a *Activities) latency(db *Database, p plan.Protect) (func(context.Context) (time.Duration, error), error) {
	read, err := a.latencySource(db, p)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(ctx, latencyTimeout)
		defer cancel()
		number, err := read(ctx)
		if err != nil {
			return 0, err
		}
		return p.Latency(number)
	}, nil
}

func (a *Activities) latencySource(db *Database, p plan.Protect) (func(context.Context) (float64, error), error) {
	client := cmp.Or(a.HTTP, http.DefaultClient)
	switch {
	case p.SQL != nil:
		return func(ctx context.Context) (float64, error) { return latencySQL(ctx, db, p.SQL.Query) }, nil
	case p.Prometheus != nil && absolute(p.Prometheus.URL):
		at, err := api.NewClient(api.Config{Address: p.Prometheus.URL, Client: client})
		if err != nil {
			break
		}
		return func(ctx context.Context) (float64, error) {
			return latencyPrometheus(ctx, prometheus.NewAPI(at), p.Prometheus.Query)
		}, nil
	case p.HTTP != nil && absolute(p.HTTP.URL):
		return func(ctx context.Context) (float64, error) { return latencyHTTP(ctx, client, *p.HTTP) }, nil
	}
	return nil, permanent("BadPlan", "pace.protect needs a query, or a url such as http://127.0.0.1:9090")
}

func absolute(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// latencySQL runs the query in a read-only transaction beside the lanes' own connections.
func latencySQL(ctx context.Context, db *Database, query string) (float64, error) {
	unbounded := math.Inf(1)     // the engine compares
	within := latencyTimeout / 2 // so that the server's own time-out comes first, and no statement is left running
	m, err := health.Measure(ctx, db.pool, health.SQLProbe{Query: query, Max: &unbounded, Timeout: within})
	return m.Number, err
}

// latencyPrometheus is the one sample of an instant query, at the server's own time.
func latencyPrometheus(ctx context.Context, at prometheus.API, query string) (float64, error) {
	value, _, _, err := at.Query(ctx, query, time.Time{})
	if answered, ok := errors.AsType[*prometheus.Error](err); ok {
		return 0, fmt.Errorf("the query is refused by Prometheus: %s", answered.Type)
	}
	if err != nil {
		return 0, unread("Prometheus", err)
	}
	switch v := value.(type) {
	case *model.Scalar:
		return float64(v.Value), nil
	case model.Vector:
		if len(v) == 1 && v[0].Histogram == nil {
			return float64(v[0].Value), nil
		}
		return 0, fmt.Errorf("the query returned %d samples: it must return exactly one number", len(v))
	}
	return 0, errors.New("the query returned no instant vector and no scalar: it must return exactly one number")
}

// latencyHTTP is a number in a JSON document, found by its keys.
func latencyHTTP(ctx context.Context, client *http.Client, from plan.LatencyHTTP) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from.URL, nil)
	if err != nil {
		return 0, errors.New("the request could not be made: look at the url")
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, unread("the page", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the page answers with status %d, must be 200", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxLatencyPage+1))
	if err != nil {
		return 0, unread("the page", err)
	}
	var found any
	if len(text) > maxLatencyPage || json.Unmarshal(text, &found) != nil {
		return 0, fmt.Errorf("the page is no JSON document of at most %d bytes", maxLatencyPage)
	}
	for key := range strings.SplitSeq(from.Field, ".") {
		object, _ := found.(map[string]any)
		found = object[key]
	}
	number, ok := found.(float64)
	if !ok {
		return 0, fmt.Errorf("the page has no number at %s", from.Field)
	}
	return number, nil
}

// unread says why a source gave no answer, without its address: that may hold a token.
func unread(source string, err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s gave no answer within %s", source, latencyTimeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s does not answer: connection refused", source)
	}
	return fmt.Errorf("%s does not answer as it should", source)
}
