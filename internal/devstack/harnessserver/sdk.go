package harnessserver

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// event of the SDK's stream: what changed, for the SDK to fetch.
type event struct {
	Event      string `json:"event"`  // create, patch or delete
	Domain     string `json:"domain"` // flag or target-segment
	Identifier string `json:"identifier"`
	Version    int    `json:"version"`
}

const (
	// streamBuffer is how many changes a slow reader may lag behind before its stream is cut; it then reconnects and
	// fetches everything.
	streamBuffer = 256
	// heartbeat is well below the 30 s of silence after which SDKs take a stream for dead.
	heartbeat = 10 * time.Second
	// beat is a heartbeat on the wire. SDKs take a stream for connected at its first sign of life.
	beat = ":\n\n"
)

func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) {
	var body struct {
		APIKey string `json:"apiKey"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, "Malformed JSON")
		return
	}
	if !same(body.APIKey, s.options.SDKKey) {
		refuse(w, http.StatusUnauthorized, "Invalid SDK key")
		return
	}
	answer(w, http.StatusOK, map[string]string{"authToken": s.token})
}

// sdkGate checks the token, and the environment where the path names one.
func (s *Server) sdkGate(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !same(token, s.token) {
			refuse(w, http.StatusUnauthorized, "Invalid token")
			return
		}
		if named := r.PathValue("environment"); named != "" && named != s.environmentID {
			refuse(w, http.StatusForbidden, "The token is for another environment")
			return
		}
		next(w, r)
	})
}

func (s *Server) listConfigs(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []config{}
	for _, key := range slices.Sorted(maps.Keys(s.flags)) {
		if f := s.flags[key]; !f.Archived {
			out = append(out, s.forSDK(f))
		}
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) getConfig(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.flags[r.PathValue("identifier")]
	if !ok || f.Archived {
		refuse(w, http.StatusNotFound, "The specified resource was not found")
		return
	}
	answer(w, http.StatusOK, s.forSDK(f))
}

// broadcast never waits. The caller holds mu.
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
	stream := make(chan event, streamBuffer)
	s.streams[stream] = struct{}{}
	s.begun++
	return stream, nil
}

func (s *Server) unsubscribe(stream chan event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, stream)
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	if !same(r.Header.Get("API-Key"), s.options.SDKKey) {
		refuse(w, http.StatusUnauthorized, "Invalid SDK key")
		return
	}
	stream, err := s.subscribe()
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "The stream cannot start")
		return
	}
	defer s.unsubscribe(stream)
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	beats := time.NewTicker(heartbeat)
	defer beats.Stop()
	_, err = io.WriteString(w, beat)
	for err == nil && control.Flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case <-beats.C:
			_, err = io.WriteString(w, beat)
		case e, open := <-stream:
			if !open {
				return
			}
			var raw []byte
			if raw, err = json.Marshal(e); err == nil {
				_, err = fmt.Fprintf(w, "event: *\ndata: %s\n\n", raw)
			}
		}
	}
}

// metrics feed the status: an SDK counts its evaluations, and tells whom they were for.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	var body struct {
		MetricsData []struct {
			Attributes []struct{ Key, Value string } `json:"attributes"`
			Timestamp  int64                         `json:"timestamp"` // epoch ms
		} `json:"metricsData"`
		TargetData []struct {
			Identifier string `json:"identifier"`
		} `json:"targetData"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, "Malformed metrics")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range body.MetricsData {
		for _, a := range m.Attributes {
			if a.Key == "featureIdentifier" {
				s.accessed[a.Value] = time.UnixMilli(m.Timestamp)
			}
		}
	}
	for _, t := range body.TargetData {
		s.targets[t.Identifier] = true
	}
	w.WriteHeader(http.StatusOK)
}
