package harnessserver

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Options of a Server.
type Options struct {
	Account        string         // the only account. Defaults to "account"
	Organization   string         // the only organization. Defaults to "default", as in a new account
	Project        string         // the only project. Defaults to "default_project", as in a new account
	Environment    string         // the only environment. Defaults to "production"
	APIKey         string         // what requests of the admin API must carry in x-api-key
	SDKKey         string         // what SDKs must authenticate with
	UnknownTargets UnknownTargets // what a patch does with them. Defaults to a refusal
	SDKVersions    int            // by how much versions are greater as SDKs are told them. Defaults to 0
}

// Server is safe for concurrent use. It keeps flags in memory only.
type Server struct {
	options       Options
	environmentID string // what SDKs call the environment
	token         string // what SDKs get for the SDK key
	handler       http.Handler

	mu       sync.Mutex
	flags    map[string]Feature
	segments map[string]Segment
	targets  map[string]bool      // that the environment knows
	accessed map[string]time.Time // when an SDK last evaluated a flag
	// elsewhere is what other environments of the project have of a flag, by their and its identifier.
	elsewhere map[string]map[string]inEnvironment
	comments  map[string][]string // of patches, by flag
	streams   map[chan event]struct{}
	begun     int      // streams, ever
	injected  []int    // statuses the next requests of the admin API are answered with
	denied    []string // rights that the API key lacks
	pipeline  string   // execution that patches wait for, if any
	closed    bool

	listener net.Listener
	http     *http.Server
}

// New returns a server without flags that listens nowhere yet.
func New(o Options) *Server {
	o.Account = cmp.Or(o.Account, "account")
	o.Organization = cmp.Or(o.Organization, "default")
	o.Project = cmp.Or(o.Project, "default_project")
	o.Environment = cmp.Or(o.Environment, "production")
	s := &Server{
		options: o, environmentID: uuid.NewString(), flags: map[string]Feature{}, segments: map[string]Segment{}, targets: map[string]bool{}, accessed: map[string]time.Time{},
		elsewhere: map[string]map[string]inEnvironment{}, comments: map[string][]string{}, streams: map[chan event]struct{}{},
	}
	s.token = s.newToken()
	s.handler = s.routes()
	return s
}

// newToken is a JSON web token whose claims SDKs read and whose signature is nobody's business but the server's.
func (s *Server) newToken() string {
	part := func(claims map[string]string) string {
		raw, _ := json.Marshal(claims) // texts only: cannot fail
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	return part(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + part(map[string]string{
		"environment": s.environmentID, "environmentIdentifier": s.options.Environment,
		"projectIdentifier": s.options.Project, "organizationIdentifier": s.options.Organization,
		"accountID": s.options.Account, "clusterIdentifier": "1", "key_type": "Server",
	}) + "." + base64.RawURLEncoding.EncodeToString([]byte(uuid.NewString()))
}

// Handler serves the whole protocol, for those who listen themselves.
func (s *Server) Handler() http.Handler { return s.handler }

// headerTimeout bounds how long a connection may take to say what it wants.
const headerTimeout = 10 * time.Second

// Start listens on addr ("127.0.0.1:0" picks a port; see AdminURL and SDKURL).
func (s *Server) Start(addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for flag requests on %s: %w", addr, err)
	}
	s.listener = listener
	s.http = &http.Server{Handler: s.handler, ReadHeaderTimeout: headerTimeout}
	go func() { _ = s.http.Serve(listener) }() // returns ErrServerClosed after Close
	return nil
}

// AdminURL is the base URL of the admin API, as https://app.harness.io/gateway is Harness's. Only after Start.
func (s *Server) AdminURL() string { return "http://" + s.listener.Addr().String() + "/gateway" }

// SDKURL is the base URL SDKs read from and send metrics to, as https://config.ff.harness.io/api/1.0 and
// https://events.ff.harness.io/api/1.0 are Harness's. Only after Start.
func (s *Server) SDKURL() string { return "http://" + s.listener.Addr().String() + "/api/1.0" }

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
func (s *Server) CreateFlag(identifier string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, exists := s.flags[identifier]; exists {
		return
	}
	f := Feature{
		Identifier: identifier, Name: identifier, Kind: "boolean", Project: s.options.Project,
		DefaultOnVariation: "true", DefaultOffVariation: "false",
		Variations: []Variation{{"true", "True", "true"}, {"false", "False", "false"}},
	}
	f.equip(s.options.Environment, time.Now())
	s.put(f, "create")
}

// Snapshot returns a copy of a flag.
func (s *Server) Snapshot(identifier string) (Feature, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.flags[identifier]
	if !ok {
		return Feature{}, false
	}
	copied, err := f.clone()
	return copied, err == nil
}

// Evaluated makes a flag one that an SDK has evaluated just now, and sent metrics of.
func (s *Server) Evaluated(identifier string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accessed[identifier] = time.Now()
}

// Comments of the patches of a flag, oldest first: what Harness's audit trail shows.
func (s *Server) Comments(identifier string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.comments[identifier])
}

// Streams is how many SDKs listen at this moment, and how many ever began to.
func (s *Server) Streams() (now, ever int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams), s.begun
}

// Inject answers the next requests of the admin API with status instead of doing what they ask. 409 and 412 are answers to
// changes, so they wait for one.
func (s *Server) Inject(status, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injected = append(s.injected, slices.Repeat([]int{status}, times)...)
}

// RunPipeline leaves all patches from now on to a pipeline execution, which this server never ends. Empty: no more.
func (s *Server) RunPipeline(execution string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pipeline = execution
}

// Deny takes rights away from the API key, by their ids. It begins with all of them.
func (s *Server) Deny(rights ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = append(s.denied, rights...)
}

func (s *Server) takeInjected(method string) (status int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.injected, func(status int) bool {
		ofChanges := status == http.StatusConflict || status == http.StatusPreconditionFailed
		return !ofChanges || method == http.MethodPatch
	})
	if i < 0 {
		return 0, false
	}
	status = s.injected[i]
	s.injected = slices.Delete(s.injected, i, i+1)
	return status, true
}

// put stores a new version of a flag and tells the streams. The caller holds mu.
func (s *Server) put(f Feature, what string) {
	s.flags[f.Identifier] = f
	s.broadcast(event{Event: what, Domain: "flag", Identifier: f.Identifier, Version: f.EnvProperties.Version})
}
