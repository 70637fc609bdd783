package load

import (
	"sync/atomic"
	"time"

	"github.com/contraflow/contraflow/examples/shop/latency"
)

// Stats of a load since its start.
type Stats struct {
	Requests int64 `json:"requests"`
	// Failed requests: no answer, or any status but 2xx.
	Failed int64 `json:"failed"`
	// WrongReads answered 2xx with an address that was right at no moment of the read.
	WrongReads int64 `json:"wrong_reads"`
	// Creates, Reads (right or wrong) and Updates that were answered 2xx.
	Creates int64 `json:"creates"`
	Reads   int64 `json:"reads"`
	Updates int64 `json:"updates"`
	// LastError says which route failed and how; it holds no value.
	LastError string `json:"last_error,omitempty"`
	// P50 and P99 of the last ten seconds.
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
}

type counter struct {
	requests, failed, wrongReads, creates, reads, updates atomic.Int64
	lastError                                             atomic.Pointer[string]
	took                                                  latency.Window
}

func (c *counter) count(took time.Duration, route string, err error) {
	c.took.Add(took)
	c.requests.Add(1)
	if err != nil {
		c.failed.Add(1)
		text := route + ": " + err.Error()
		c.lastError.Store(&text)
	}
}

func (c *counter) stats() Stats {
	s := Stats{Requests: c.requests.Load(), Failed: c.failed.Load(), WrongReads: c.wrongReads.Load(),
		Creates: c.creates.Load(), Reads: c.reads.Load(), Updates: c.updates.Load(),
		P50: c.took.Quantile(0.5), P99: c.took.Quantile(0.99)}
	if text := c.lastError.Load(); text != nil {
		s.LastError = *text
	}
	return s
}
