package activities

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/plan"
)

// reader of a latency with a unit.
func (b *bundle) reader(t *testing.T, p plan.Protect) func(context.Context) (time.Duration, error) {
	t.Helper()
	read, err := b.acts.latency(b.acts.Databases["shop"], p)
	require.NoError(t, err)
	return read
}

// requireReading takes a reading in milliseconds; below zero stands for an error, whose text must be discreet.
func (b *bundle) requireReading(t *testing.T, p plan.Protect, want float64, parts ...string) {
	t.Helper()
	got, err := b.reader(t, p)(t.Context())
	if want >= 0 {
		require.NoError(t, err)
		require.InDelta(t, want, got.Seconds()*1000, 0.001)
		return
	}
	require.Error(t, err)
	b.requireDiscreet(t, err.Error())
	require.NotContains(t, err.Error(), "127.0.0.1")
	for _, part := range parts {
		require.Contains(t, err.Error(), part)
	}
}

func TestALatencyIsReadBySQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table latencies (ms double precision, note text)")
	b.exec(t, "insert into latencies values (12.5, $1), (7, $1)", rowMarker)
	query := func(sql string) plan.Protect { return plan.Protect{SQL: &plan.LatencySQL{Query: sql}} }
	b.requireReading(t, query("select max(ms) from latencies"), 12.5)
	seconds := query("select 0.25")
	seconds.Unit = plan.UnitSeconds
	b.requireReading(t, seconds, 250)
	b.requireReading(t, query("select ms from latencies"), -1, "more than one row")
	b.requireReading(t, query("select ms from latencies where false"), -1, "no row")
	b.requireReading(t, query("select max(ms) from latencies where false"), -1, "NULL")
	b.requireReading(t, query("select 'NaN'::float8"), -1, "NaN")
	b.requireReading(t, query("select -1"), -1, "no latency")
	b.requireReading(t, query("select note::int from latencies"), -1, "22P02")
	b.requireReading(t, query("select pg_sleep(60)"), -1, "within 1s")
	b.requireReading(t, query("delete from latencies returning ms"), -1, "25006")
	require.Equal(t, 2, one[int](t, b, "select count(*)::int from latencies"), "a reading changes nothing")
}

func TestALatencyIsReadFromPrometheus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	answers := map[string]string{
		"vector":    `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"S3CRET"},"value":[1700000000,"0.032"]}]}}`,
		"scalar":    `{"status":"success","data":{"resultType":"scalar","result":[1700000000,"0.5"]}}`,
		"nothing":   `{"status":"success","data":{"resultType":"vector","result":[]}}`,
		"two":       `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"i":"1"},"value":[1,"1"]},{"metric":{"i":"2"},"value":[1,"2"]}]}}`,
		"nan":       `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]}]}}`,
		"matrix":    `{"status":"success","data":{"resultType":"matrix","result":[]}}`,
		"histogram": `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}]}}`,
		"wrong":     `{"status":"error","errorType":"bad_data","error":"parse error near S3CRET"}`,
		"garbage":   `S3CRET`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		if r.URL.Path != "/prom/api/v1/query" || answers[query] == "" {
			http.NotFound(w, r)
			return
		}
		if query == "wrong" {
			w.WriteHeader(http.StatusBadRequest)
		}
		fmt.Fprint(w, answers[query])
	}))
	defer server.Close()
	at := func(query string) plan.Protect {
		address := strings.Replace(server.URL, "http://", "http://reader:S3CRET@", 1) + "/prom"
		return plan.Protect{Unit: plan.UnitSeconds, Prometheus: &plan.LatencyPrometheus{URL: address, Query: query}}
	}
	b.requireReading(t, at("vector"), 32)
	b.requireReading(t, at("scalar"), 500)
	b.requireReading(t, at("nothing"), -1, "0 samples")
	b.requireReading(t, at("two"), -1, "2 samples")
	b.requireReading(t, at("nan"), -1, "no latency")
	b.requireReading(t, at("matrix"), -1, "exactly one number")
	b.requireReading(t, at("histogram"), -1, "exactly one number")
	b.requireReading(t, at("wrong"), -1, "bad_data")
	b.requireReading(t, at("garbage"), -1, "Prometheus")
	b.requireReading(t, at("unknown"), -1, "Prometheus")
	server.Close()
	b.requireReading(t, at("vector"), -1, "connection refused")
}

func TestALatencyIsReadFromAPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	page, status := `{"latency":{"p99":41.5,"text":"S3CRET","null":null},"top":3,"a":[1]}`, http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, page)
	}))
	defer server.Close()
	field := func(path string) plan.Protect {
		return plan.Protect{HTTP: &plan.LatencyHTTP{URL: server.URL + "/stats?token=S3CRET", Field: path}}
	}
	b.requireReading(t, field("latency.p99"), 41.5)
	b.requireReading(t, field("top"), 3)
	for _, none := range []string{"latency.p50", "latency", "latency.text", "latency.null", "a", "top.p99", "gone.p99"} {
		b.requireReading(t, field(none), -1, "no number at "+none)
	}
	page = "S3CRET, not JSON"
	b.requireReading(t, field("top"), -1, "no JSON document")
	page = `{"top":1` + strings.Repeat(" ", maxLatencyPage) + `}`
	b.requireReading(t, field("top"), -1, "no JSON document")
	status = http.StatusServiceUnavailable
	b.requireReading(t, field("top"), -1, "status 503")
	server.Close()
	b.requireReading(t, field("top"), -1, "connection refused")
}

func TestALatencyThatDoesNotComeIsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server sees that its client is gone once it has read the request
		<-r.Context().Done()
	}))
	defer server.Close()
	b.requireReading(t, plan.Protect{HTTP: &plan.LatencyHTTP{URL: server.URL, Field: "f"}}, -1, "within 2s")
	b.requireReading(t, plan.Protect{Prometheus: &plan.LatencyPrometheus{URL: server.URL, Query: "q"}}, -1, "within 2s")
}
