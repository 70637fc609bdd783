package flagserver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// Options of a Server.
type Options struct {
	Project     string // the only project. Defaults to "default", as in a new LaunchDarkly account
	Environment string // the only environment. Defaults to "production"
	APIToken    string // what REST requests must carry in Authorization
	BypassToken string // another token, whose role bypasses required approvals. Empty: none
	SDKKey      string // what SDKs must carry in Authorization
	// Quiet is after how long without requests a flag is "inactive". Defaults to LaunchDarkly's seven days.
	Quiet time.Duration
	// SDKVersions is by how much versions are greater as SDKs are told them; where it is less than 0, the REST API counts from as
	// much above 1. That both are the same is documented nowhere. Defaults to 0.
	SDKVersions int
	File        string // where Start reads flags from and changes are saved to. Empty: memory only
}

// Server is safe for concurrent use.
type Server struct {
	options Options
	handler http.Handler

	mu        sync.Mutex
	flags     map[string]Flag
	segments  map[string]Segment          // lost with the process
	requested map[string]time.Time        // when an SDK last evaluated a flag
	elsewhere map[string]map[string]heard // what other environments say of a flag, by its key
	needed    map[string][]dependent      // that other environments have, by the key of the flag that is needed
	streams   map[chan event]struct{}
	injected  []int // statuses the next REST requests are answered with
	denied    map[string]bool
	roles     roles // of the API token
	approvals ApprovalSettings
	requests  map[string][]*ApprovalRequest // by flag; lost with the process
	scheduled map[string][]scheduledChange
	taken     JSONPatches
	opened    int // streams
	closed    bool

	listener net.Listener
	http     *http.Server
}

// New returns a server without flags that listens nowhere yet.
func New(o Options) *Server {
	o.Project = cmp.Or(o.Project, "default")
	o.Environment = cmp.Or(o.Environment, "production")
	s := &Server{
		options: o, flags: map[string]Flag{}, segments: map[string]Segment{}, requested: map[string]time.Time{},
		elsewhere: map[string]map[string]heard{}, needed: map[string][]dependent{}, streams: map[chan event]struct{}{},
		approvals: noApprovals(), requests: map[string][]*ApprovalRequest{},
		scheduled: map[string][]scheduledChange{},
	}
	s.handler = s.routes()
	return s
}

// Handler serves the whole protocol, for those who listen themselves.
func (s *Server) Handler() http.Handler { return s.handler }

// headerTimeout bounds how long a connection may take to say what it wants.
const headerTimeout = 10 * time.Second

// Start reads the file, if there is one, and listens on addr ("127.0.0.1:0" picks a port; see URL).
func (s *Server) Start(addr string) error {
	if err := s.load(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for flag requests on %s: %w", addr, err)
	}
	s.listener = listener
	s.http = &http.Server{Handler: s.handler, ReadHeaderTimeout: headerTimeout}
	go func() { _ = s.http.Serve(listener) }() // returns ErrServerClosed after Close
	return nil
}

// URL is the base URL of REST and SDK endpoints; empty before Start.
func (s *Server) URL() string {
	if s.listener == nil {
		return ""
	}
	return "http://" + s.listener.Addr().String()
}

// Close ends all streams and stops listening.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for stream := range s.streams {
		close(stream)
		delete(s.streams, stream)
	}
	s.mu.Unlock()
	if s.http == nil {
		return nil
	}
	return s.http.Close()
}

// CreateFlag makes a boolean flag that is off; an existing flag stays as it is.
func (s *Server) CreateFlag(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, exists := s.flags[key]; exists {
		return nil
	}
	return s.put(s.counting(newFlag(key, key, s.options.Environment, booleans(), time.Now())))
}

// counting lets a new flag begin with a version that SDKs can be told.
func (s *Server) counting(flag Flag) Flag {
	flag.Environments[s.options.Environment].Version += max(-s.options.SDKVersions, 0)
	return flag
}

func booleans() []Variation {
	return []Variation{{Value: true, Name: "true"}, {Value: false, Name: "false"}}
}

// Snapshot returns a copy of a flag.
func (s *Server) Snapshot(key string) (Flag, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	flag, ok := s.flags[key]
	if !ok {
		return Flag{}, false
	}
	copied, err := flag.clone()
	return copied, err == nil
}

// Inject answers the next REST requests with status instead of doing what they ask. 405 and 409 are LaunchDarkly's
// answers to changes, so they wait for a PATCH.
func (s *Server) Inject(status, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injected = append(s.injected, slices.Repeat([]int{status}, times)...)
}

// Streams is how many have been opened so far.
func (s *Server) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

func (s *Server) takeInjected(method string) (status int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.injected, func(status int) bool {
		ofChanges := status == http.StatusConflict || status == http.StatusMethodNotAllowed
		return !ofChanges || method == http.MethodPatch
	})
	if i < 0 {
		return 0, false
	}
	status = s.injected[i]
	s.injected = slices.Delete(s.injected, i, i+1)
	return status, true
}

// put stores a new version of a flag, on disk first, and tells the streams. The caller holds mu.
func (s *Server) put(flag Flag) error {
	flags := maps.Clone(s.flags)
	flags[flag.Key] = flag
	message, err := s.change(flag)
	if err != nil {
		return fmt.Errorf("encode flag %q: %w", flag.Key, err)
	}
	if err := s.save(flags); err != nil {
		return err
	}
	s.flags = flags
	s.broadcast(message)
	return nil
}

// drop forgets a flag for good. The caller holds mu.
func (s *Server) drop(flag Flag) error {
	flags := maps.Clone(s.flags)
	delete(flags, flag.Key)
	flag.Archived = true // SDKs are told the same of both
	flag.Environments = maps.Clone(flag.Environments)
	last := *flag.Environments[s.options.Environment]
	last.Version++
	flag.Environments[s.options.Environment] = &last
	message, err := s.change(flag)
	if err != nil {
		return fmt.Errorf("encode flag %q: %w", flag.Key, err)
	}
	if err := s.save(flags); err != nil {
		return err
	}
	s.flags = flags
	s.broadcast(message)
	return nil
}

func (s *Server) save(flags map[string]Flag) error {
	if s.options.File == "" {
		return nil
	}
	raw, err := json.MarshalIndent(flags, "", "  ")
	if err != nil {
		return fmt.Errorf("encode flags: %w", err)
	}
	// Rename, so that a kill in the middle leaves the old file.
	temporary := s.options.File + ".tmp"
	if err := os.WriteFile(temporary, raw, 0o600); err != nil {
		return fmt.Errorf("save flags: %w", err)
	}
	if err := os.Rename(temporary, s.options.File); err != nil {
		return fmt.Errorf("save flags: %w", err)
	}
	return nil
}

func (s *Server) load() error {
	if s.options.File == "" {
		return nil
	}
	raw, err := os.ReadFile(s.options.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read saved flags: %w", err)
	}
	flags := map[string]Flag{}
	if err := json.Unmarshal(raw, &flags); err != nil {
		return fmt.Errorf("read saved flags from %s (delete it to start afresh): %w", s.options.File, err)
	}
	for key, flag := range flags {
		if flag.Environments[s.options.Environment] == nil {
			return fmt.Errorf("flag %q in %s has no environment %q: it was saved for another one; name another file",
				key, s.options.File, s.options.Environment)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flags = flags
	return nil
}
