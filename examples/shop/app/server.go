package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/contraflow/contraflow/examples/shop/latency"
)

const (
	// maxBody of a request: a customer is a few hundred bytes.
	maxBody = 64 << 10
	// healthTimeout for the database's answer: a health page that hangs tells nothing.
	healthTimeout = time.Second
)

// FaultNewReads is the fault in which /healthz fails as soon as any read was served in the new shape. Customers are served all the same.
const FaultNewReads = "healthz-fails-when-read-new"

// Server is the shop's HTTP side.
type Server struct {
	store *Store
	log   *slog.Logger

	requests, failed atomic.Int64
	took             latency.Window
	// fault is the count of new reads at which it was armed; negative while it is not.
	fault atomic.Int64
}

// NewServer serves the store.
func NewServer(store *Store, log *slog.Logger) *Server {
	s := &Server{store: store, log: log}
	s.fault.Store(-1)
	return s
}

// Handler of the shop. With debug it also takes POST /debug/fault {"fault": FaultNewReads}; an empty fault disarms.
func (s *Server) Handler(debug bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /customers", s.counted(s.create))
	mux.Handle("GET /customers/{id}", s.counted(s.get))
	mux.Handle("PUT /customers/{id}/address", s.counted(s.move))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.Stats()) })
	if debug {
		mux.HandleFunc("POST /debug/fault", s.setFault)
	}
	return mux
}

// Stats of the shop since its start; the quantiles are of the last ten seconds.
type Stats struct {
	Requests   int64   `json:"requests"`
	Failed     int64   `json:"failed"` // answered with 5xx
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	ReadsOld   int64   `json:"reads_old"`
	ReadsNew   int64   `json:"reads_new"`
	WritesOld  int64   `json:"writes_old"`
	WritesBoth int64   `json:"writes_both"`
	WritesNew  int64   `json:"writes_new"`
	Shape      string  `json:"shape"` // of the table: old, both or new
}

// Stats as they are now.
func (s *Server) Stats() Stats {
	c := &s.store.counts
	ms := func(q float64) float64 { return float64(s.took.Quantile(q).Microseconds()) / 1000 }
	return Stats{Requests: s.requests.Load(), Failed: s.failed.Load(), P50: ms(0.5), P99: ms(0.99),
		ReadsOld: c.readsOld.Load(), ReadsNew: c.readsNew.Load(), WritesOld: c.writesOld.Load(),
		WritesBoth: c.writesBoth.Load(), WritesNew: c.writesNew.Load(), Shape: s.store.known.Load().String()}
}

// handler answers with a status and a body, or with an error.
type handler func(r *http.Request) (status int, body any, err error)

func (s *Server) counted(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		status, body, err := h(r)
		if err != nil {
			status, body = s.explain(r, err)
		}
		s.took.Add(time.Since(began))
		s.requests.Add(1)
		if status >= 500 {
			s.failed.Add(1)
		}
		answer(w, status, body)
	})
}

type problem struct {
	Error string `json:"error"`
}

// errRequest is the caller's mistake.
type errRequest string

func (e errRequest) Error() string { return string(e) }

func (s *Server) explain(r *http.Request, err error) (int, any) {
	request, isRequest := errors.AsType[errRequest](err)
	switch {
	case isRequest:
		return http.StatusBadRequest, problem{request.Error()}
	case errors.Is(err, ErrAddress):
		return http.StatusBadRequest, problem{ErrAddress.Error()}
	case errors.Is(err, ErrNoCustomer):
		return http.StatusNotFound, problem{ErrNoCustomer.Error()}
	}
	s.log.Error("a request failed", "route", r.Pattern, "error", redact(err))
	return http.StatusInternalServerError, problem{"the shop could not do this"}
}

// redact an error of the driver: row values and the connection string stay out of the log, which Postgres and the driver quote.
func redact(err error) error {
	server, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		return nil
	case ok:
		return errors.New("SQLSTATE " + server.Code)
	case errors.Is(err, ErrNoTable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return errors.New("the database cannot be reached")
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body) // an error means that the caller has gone
	}
}

func decode(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return errRequest("the body must be JSON, at most 64 KiB")
	}
	return nil
}

func pathID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, errRequest("an id is a number")
	}
	return id, nil
}

func (s *Server) create(r *http.Request) (int, any, error) {
	var c Customer
	if err := decode(r, &c); err != nil {
		return 0, nil, err
	}
	if strings.ContainsRune(c.Name+c.Email, 0) {
		return 0, nil, errRequest("name and email must not hold a zero byte: Postgres cannot keep it")
	}
	id, err := s.store.Create(r.Context(), c)
	c.ID = id
	return http.StatusCreated, c, err
}

func (s *Server) get(r *http.Request) (int, any, error) {
	id, err := pathID(r)
	if err != nil {
		return 0, nil, err
	}
	c, err := s.store.Get(r.Context(), id)
	return http.StatusOK, c, err
}

func (s *Server) move(r *http.Request) (int, any, error) {
	id, err := pathID(r)
	if err != nil {
		return 0, nil, err
	}
	var body struct{ Address string }
	if err := decode(r, &body); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, s.store.Move(r.Context(), id, body.Address)
}

func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	if armed := s.fault.Load(); armed >= 0 && s.store.counts.readsNew.Load() > armed {
		answer(w, http.StatusServiceUnavailable, problem{"fault " + FaultNewReads})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if err := s.store.pool.Ping(ctx); err != nil {
		answer(w, http.StatusServiceUnavailable, problem{"the database does not answer"})
		return
	}
	answer(w, http.StatusOK, nil)
}

func (s *Server) setFault(w http.ResponseWriter, r *http.Request) {
	var body struct{ Fault string }
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := decode(r, &body); err != nil {
		answer(w, http.StatusBadRequest, problem{err.Error()})
		return
	}
	switch body.Fault {
	case FaultNewReads:
		s.fault.Store(s.store.counts.readsNew.Load())
	case "":
		s.fault.Store(-1)
	default:
		answer(w, http.StatusBadRequest, problem{"the one fault known is " + FaultNewReads})
		return
	}
	answer(w, http.StatusNoContent, nil)
}
