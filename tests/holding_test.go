package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contraflow/contraflow/plan"
)

// What protects the application holds the lanes: a throttle that is too high, and a latency that nobody can read.
func TestReadingsHoldALaneAndLetItGo(t *testing.T) {
	t.Parallel()
	var readable atomic.Bool
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !readable.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, `{"latency":{"p99":1.5}}`)
	}))
	t.Cleanup(page.Close)
	b := setup(t, options{prepare: `create table queue as select 1 as job`, edit: func(p *plan.Plan) {
		fill := p.Steps[p.StepIndex("fill")].Backfill
		fill.Throttles = &plan.Throttles{Queries: []plan.ThrottleQuery{{Name: "orders in the queue", Query: "select count(*) from queue"}}}
		fill.Pace = &plan.Pace{Protect: &plan.Protect{Name: "p99 of the shop", Max: plan.Duration(50 * time.Millisecond),
			HTTP: &plan.LatencyHTTP{URL: page.URL + "/stats", Field: "latency.p99"}}}
	}})
	b.migrate()
	b.holds("orders in the queue", "p99 of the shop", "status 503")
	readable.Store(true)
	b.holds("orders in the queue")
	b.exec(`delete from queue`)
	b.approve("cutover")
	b.approve("contract")
	b.completes()
}

// holds waits until the status names all this as what the lanes wait for, and not a row has been changed.
func (b *bundle) holds(reasons ...string) {
	b.t.Helper()
	b.statusSays("the lanes hold", append(reasons, "holding")...)
	if n := b.count(`select coalesce(sum(rows), 0)::bigint from contraflow.backfill_lane`); n != 0 {
		b.t.Errorf("%d rows were changed while the lanes held", n)
	}
}
