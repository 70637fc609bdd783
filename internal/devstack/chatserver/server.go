// Package chatserver is a small chat that speaks the part of the Slack Web API contraflow uses and shows its cards on a web page
// with working buttons, for the demo and the tests. Pressing a button sends a signed interaction, exactly as Slack does.
package chatserver

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// DefaultPressTimeout is how long Slack waits for the answer to an interaction.
	DefaultPressTimeout = 3 * time.Second
	// readHeaderTimeout is for clients that never say what they want.
	readHeaderTimeout = 30 * time.Second
)

// Person is a member of the workspace who can press buttons.
type Person struct {
	ID   string // Slack user id, for example "U0ALICE"
	Name string
}

// Options of a server. All fields but InteractionsURL and PressTimeout are required.
type Options struct {
	// Token is the bot token clients must show.
	Token string
	// SigningSecret signs the interactions.
	SigningSecret string
	// InteractionsURL gets the interactions. Defaults to none: pressing fails until SetInteractionsURL is called.
	InteractionsURL string
	// PressTimeout is how long a press waits for the answer. Defaults to DefaultPressTimeout; more is for tests, which press on
	// machines that do much else.
	PressTimeout time.Duration
	// People of the workspace, in the order of the page's picker.
	People []Person
}

// Server holds the workspace in memory. It is safe for concurrent use.
type Server struct {
	token, secret string
	people        []Person
	client        *http.Client
	now           func() time.Time

	mu              sync.Mutex
	interactionsURL string
	channels        []channel
	messages        []*Message // oldest first
	lastTS          time.Time
	faults          []*Fault
	listeners       map[chan struct{}]bool

	http *http.Server
	url  string
}

// New makes a workspace without messages. Serve it with Handler, or with Start and Close.
func New(o Options) *Server {
	return &Server{
		token: o.Token, secret: o.SigningSecret, people: o.People, interactionsURL: o.InteractionsURL,
		client: &http.Client{Timeout: cmp.Or(o.PressTimeout, DefaultPressTimeout)}, now: time.Now, listeners: map[chan struct{}]bool{},
	}
}

// SetInteractionsURL says where presses are sent from now on.
func (s *Server) SetInteractionsURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interactionsURL = url
}

// Start listens on addr ("127.0.0.1:0" for a free port) and serves until Close.
func (s *Server) Start(addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("start the chat server: %w", err)
	}
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: s.Handler(), ReadHeaderTimeout: readHeaderTimeout}
	go func() { _ = s.http.Serve(listener) }()
	return nil
}

// URL of the web page, once started, without a slash at the end.
func (s *Server) URL() string { return s.url }

// APIURL is what slack.OptionAPIURL needs, once started.
func (s *Server) APIURL() string { return s.url + "/api/" }

// Close ends a started server and every open page's stream.
func (s *Server) Close() error {
	if s.http == nil {
		return nil
	}
	return s.http.Close()
}

// Handler serves the Web API below /api/ and the page at /.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/{method}", s.api)
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /stream", s.stream)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("POST /press", s.pressFromPage)
	mux.Handle("GET /assets/", http.FileServerFS(assets))
	return mux
}

// Messages returns a copy of all messages, oldest first, with ephemeral ones and replies.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Message, len(s.messages))
	for i, m := range s.messages {
		all[i] = *m
	}
	return all
}

// Fault makes the Web API fail.
type Fault struct {
	Method     string        // for example "chat.postMessage"; empty for every method
	Status     int           // HTTP status; 429 comes with Retry-After; 0 answers 200 with Error in the body
	RetryAfter time.Duration // whole seconds, for status 429
	Error      string        // Slack's error code for status 0, for example "missing_scope"
	Times      int           // how many calls fail; 0 means one
	After      bool          // do the work and then fail, as if the answer were lost
}

// Inject adds a fault; faults are used up in the order they were added.
func (s *Server) Inject(f Fault) {
	f.Times = max(f.Times, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// takeFault returns the fault the call must suffer, or nil.
func (s *Server) takeFault(method string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Times > 0 && (f.Method == "" || f.Method == method) {
			f.Times--
			return f
		}
	}
	return nil
}

// listen returns a channel that gets a value after each change, until stop is called.
func (s *Server) listen() (changes chan struct{}, stop func()) {
	changes = make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[changes] = true
	return changes, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, changes)
	}
}

// changed wakes the pages; the caller holds the lock. A page that is already awake loads everything anyway.
func (s *Server) changed() {
	for l := range s.listeners {
		select {
		case l <- struct{}{}:
		default:
		}
	}
}

func (s *Server) person(id string) (Person, bool) {
	for _, p := range s.people {
		if p.ID == id {
			return p, true
		}
	}
	return Person{}, false
}
