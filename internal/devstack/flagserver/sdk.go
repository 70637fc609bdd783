package flagserver

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// event of the SDK's stream.
type event struct{ name, data string }

const (
	// streamBuffer is how many changes a slow reader may lag behind before its stream is cut; it then reconnects and
	// starts from a fresh put.
	streamBuffer = 256
	// heartbeat is well below the SDK's read timeout of five minutes.
	heartbeat = time.Minute
)

// sdkGate checks the SDK key.
func (s *Server) sdkGate(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !same(r.Header.Get("Authorization"), s.options.SDKKey) {
			explain(w, http.StatusUnauthorized, "Invalid SDK key")
			return
		}
		next(w, r)
	})
}

// data is everything an SDK of the environment knows. The caller holds mu.
func (s *Server) data() map[string]any {
	flags := map[string]sdkFlag{}
	for key, flag := range s.flags {
		if !flag.Archived {
			flags[key] = flag.forSDK(s.options.Environment, s.options.SDKVersions)
		}
	}
	segments := map[string]sdkSegment{}
	for key, segment := range s.segments {
		segments[key] = segment.forSDK()
	}
	return map[string]any{"flags": flags, "segments": segments}
}

// change is what streams are told of a new version of a flag.
func (s *Server) change(flag Flag) (event, error) {
	path := "/flags/" + flag.Key
	told := flag.forSDK(s.options.Environment, s.options.SDKVersions)
	name, body := "patch", map[string]any{"path": path, "data": told}
	if flag.Archived {
		name, body = "delete", map[string]any{"path": path, "version": told.Version}
	}
	raw, err := json.Marshal(body)
	return event{name, string(raw)}, err
}

// broadcast never waits. The caller holds mu, so no stream can miss a change between its put and its first patch.
func (s *Server) broadcast(e event) {
	for stream := range s.streams {
		select {
		case stream <- e:
		default:
			close(stream)
			delete(s.streams, stream)
		}
	}
}

func (s *Server) subscribe() (chan event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, http.ErrServerClosed
	}
	raw, err := json.Marshal(map[string]any{"path": "/", "data": s.data()})
	if err != nil {
		return nil, err
	}
	stream := make(chan event, streamBuffer)
	stream <- event{"put", string(raw)}
	s.streams[stream] = struct{}{}
	s.opened++
	return stream, nil
}

func (s *Server) unsubscribe(stream chan event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, stream)
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	stream, err := s.subscribe()
	if err != nil {
		explain(w, http.StatusServiceUnavailable, "The stream cannot start")
		return
	}
	defer s.unsubscribe(stream)
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			_, err = io.WriteString(w, ":\n\n")
		case e, open := <-stream:
			if !open {
				return
			}
			_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.name, e.data)
		}
		if err != nil || control.Flush() != nil {
			return
		}
	}
}

func (s *Server) poll(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer(w, http.StatusOK, s.data())
}

// events feeds the flag statuses: an SDK counts its evaluations in summaries.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(http.MaxBytesReader(w, r.Body, maxBody))
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			explain(w, http.StatusBadRequest, "Malformed gzip")
			return
		}
		body = io.LimitReader(unzipped, maxBody)
	}
	var batch []struct {
		Kind     string                     `json:"kind"`
		Key      string                     `json:"key"`      // of "feature"
		Features map[string]json.RawMessage `json:"features"` // of "summary"
	}
	if err := json.NewDecoder(body).Decode(&batch); err != nil {
		explain(w, http.StatusBadRequest, "Malformed events")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, e := range batch {
		if e.Kind == "feature" {
			s.requested[e.Key] = now
		}
		for key := range e.Features {
			s.requested[key] = now
		}
	}
	w.WriteHeader(http.StatusAccepted)
}
