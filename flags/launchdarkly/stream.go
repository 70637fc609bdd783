package launchdarkly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/interfaces"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/ldhttp"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems/ldstoreimpl"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems/ldstoretypes"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// lookAhead is how long a change waits for the stream to show what was before it: a few connections' time.
const lookAhead = 5 * time.Second

// settle is how long a version that may be another way of counting, or an old one, must stay to be taken for the former: above
// LaunchDarkly's usual propagation, and short for a kill switch whose next flag is due behind it.
const settle = time.Second

// reconnectDelay is the SDK's first wait after a lost stream; its default of 1 s would use up much of the read-back.
const reconnectDelay = 200 * time.Millisecond

// errNotSeen is the end of the wait for a change.
var errNotSeen = errors.New("not seen on the stream")

// shown is what the stream showed of a flag before a change.
type shown struct {
	version int // the SDK's
	before  int // the API's, read behind that, when the flag was not yet as wanted
	made    int // the API's behind the change that was made then; 0 for none
}

// look takes down which version the stream shows before a change is made, for awaitServed. Ok means that the flag is to be read
// again, since only what happens behind the look has a greater version. A look holds as long as the flag stays as it was read
// then: people may take days to approve a change. A stream that does not answer is no reason to leave a flag as it is, and who is
// in a hurry does not look.
func (p *Provider) look(ctx context.Context, current snapshot) (version int, ok bool) {
	key := current.state.Key
	if flags.IsUrgent(ctx) || p.lastShown(key).before == current.state.Version {
		return 0, false
	}
	version = math.MinInt
	err := p.await(ctx, key, min(lookAhead, p.config.ReadBack), func(served *ldmodel.FeatureFlag) verdict {
		if served != nil {
			version = served.Version
		}
		return yes
	})
	return version, err == nil
}

// made keeps by what the change is told from what was before it, also for later attempts.
func (p *Provider) made(before, after snapshot) {
	key := before.state.Key
	if last := p.lastShown(key); last.before == before.state.Version && after.state.Version > last.before {
		last.made = after.state.Version
		p.shown.Store(key, last)
	}
}

func (p *Provider) lastShown(key string) shown {
	last, _ := p.shown.Load(key)
	out, _ := last.(shown)
	return out
}

// awaitServed waits until a newly connected SDK holds the targeting that the REST API answered, and returns the version that it
// holds. The SDK evaluates from nothing else, so then an application is served it. But a Relay Proxy that has lost its own stream
// goes on showing the same targeting as it once was, such as before a change that is restored. So the version behind a change of
// ours must be greater than the one that the stream showed before it: that SDKs count as the REST API does is documented nowhere.
// What anybody else has made, or nobody has looked at before, may have been shown for long: there the API's version is seen at
// once, and a lower one that stays is taken for another way of counting.
func (p *Provider) awaitServed(ctx context.Context, after snapshot) (version int, err error) {
	key := after.state.Key
	if after.state.Archived {
		return after.state.Version, p.awaitGone(ctx, key)
	}
	last := p.lastShown(key)
	ours := last.made != 0 && last.made == after.state.Version
	err = p.await(ctx, key, p.config.ReadBack, func(served *ldmodel.FeatureFlag) verdict {
		if !after.servedBy(served) {
			return no
		}
		version = served.Version
		switch {
		case ours:
			return when(version > last.version)
		case version < after.state.Version:
			return ifItStays
		}
		return yes
	})
	if !errors.Is(err, errNotSeen) {
		return version, err
	}
	// A stranger who changed it meanwhile explains the silence better than a slow stream.
	if now, readErr := p.read(ctx, key); readErr == nil && !now.targeting.Equal(after.targeting) {
		return 0, fmt.Errorf("flag %q was changed again before the change was seen: %w", key, flags.ErrConflict)
	}
	return 0, err
}

// servedBy compares what an SDK holds.
func (s snapshot) servedBy(flag *ldmodel.FeatureFlag) bool {
	if flag == nil {
		return false
	}
	raw, err := json.Marshal(flag)
	if err != nil {
		return false
	}
	told, err := targeting.Decode(raw)
	return err == nil && s.targeting.SameEffect(told)
}

func (p *Provider) awaitGone(ctx context.Context, key string) error {
	return p.await(ctx, key, p.config.ReadBack, func(served *ldmodel.FeatureFlag) verdict { return when(served == nil) })
}

// verdict on what an SDK holds.
type verdict int

const (
	no verdict = iota
	ifItStays
	yes
)

func when(seen bool) verdict {
	if seen {
		return yes
	}
	return no
}

// await opens a stream of its own: what a new connection is told cannot be older than the connection.
func (p *Provider) await(ctx context.Context, key string, within time.Duration, judge func(*ldmodel.FeatureFlag) verdict) error {
	patience := time.NewTimer(within)
	defer patience.Stop()
	store := &watchedStore{changed: make(chan struct{}, 1)}
	transport, _, err := ldhttp.NewHTTPTransport(ldhttp.ConnectTimeoutOption(ldcomponents.DefaultConnectTimeout))
	if err != nil {
		return fmt.Errorf("read flag %q back from %s: %w", key, p.stream.Redacted(), err)
	}
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	defer transport.CloseIdleConnections()
	defer end()
	config := ld.Config{
		HTTP: ldcomponents.HTTPConfiguration().HTTPClientFactory(func() *http.Client {
			return &http.Client{Transport: ending{transport, over}}
		}),
		DataSource:       ldcomponents.StreamingDataSource().InitialReconnectDelay(reconnectDelay),
		DataStore:        store,
		Events:           ldcomponents.NoEvents(), // an evaluation here must not look like an application's
		DiagnosticOptOut: true,
		Logging:          ldcomponents.NoLogging(),
	}
	if p.config.StreamURL != "" {
		config.ServiceEndpoints = ldcomponents.RelayProxyEndpoints(p.config.StreamURL)
	}
	client, err := ld.MakeCustomClient(p.config.SDKKey, config, 0)
	if err != nil {
		return fmt.Errorf("read flag %q back from %s: %w", key, p.stream.Redacted(), err)
	}
	defer client.Close()
	source := client.GetDataSourceStatusProvider()
	statuses := source.AddStatusListener()
	defer source.RemoveStatusListener(statuses)
	var settled <-chan time.Time
	for {
		if store.initialized() {
			flag, err := store.flag(key)
			if err != nil {
				return fmt.Errorf("read flag %q back from %s: %w", key, p.stream.Redacted(), err)
			}
			switch judge(flag) {
			case yes:
				return nil
			case no:
				settled = nil
			case ifItStays:
				if settled == nil {
					settled = time.After(min(settle, within/2))
				}
			}
		}
		if status := source.GetStatus(); status.State == interfaces.DataSourceStateOff {
			return p.streamRefused(key, status.LastError)
		}
		select {
		case <-store.changed:
		case <-statuses:
		case <-settled:
			return nil
		case <-patience.C:
			return p.unseen(key, source.GetStatus(), errNotSeen)
		case <-ctx.Done():
			return p.unseen(key, source.GetStatus(), ctx.Err())
		}
	}
}

// ending is the transport of one read-back. A client that has never been connected goes on trying after it was closed, for as
// long as the process lives, and gives up on a 401 alone: so that is what it hears behind the end.
type ending struct {
	http.RoundTripper
	over context.Context
}

// RoundTrip ends with the read-back, whatever the request's own context says.
func (e ending) RoundTrip(r *http.Request) (*http.Response, error) {
	if e.over.Err() != nil {
		return &http.Response{
			StatusCode: http.StatusUnauthorized, Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor,
			Header: http.Header{}, Body: http.NoBody, Request: r,
		}, nil
	}
	return e.RoundTripper.RoundTrip(r.WithContext(e.over))
}

func (p *Provider) streamRefused(key string, last interfaces.DataSourceErrorInfo) error {
	if last.StatusCode == http.StatusUnauthorized || last.StatusCode == http.StatusForbidden {
		return fmt.Errorf("flag %q: the stream at %s refuses the SDK key (%d): give the server-side SDK key of environment %q: %w",
			key, p.stream.Redacted(), last.StatusCode, p.config.Environment, flags.ErrUnauthorized)
	}
	return fmt.Errorf("flag %q: the stream at %s ended (%s): check the stream URL", key, p.stream.Redacted(), last)
}

func (p *Provider) unseen(key string, status interfaces.DataSourceStatus, end error) error {
	why := "it shows another configuration, or an older version"
	if status.State != interfaces.DataSourceStateValid {
		why = fmt.Sprintf("it is %s, last error %s", status.State, status.LastError)
	}
	return fmt.Errorf("flag %q: the change was made, but the stream at %s does not show it (%s): %w",
		key, p.stream.Redacted(), why, end)
}

// watchedStore is the SDK's own store in memory, which also tells when something was put in.
type watchedStore struct {
	subsystems.DataStore
	changed chan struct{} // holds at most one token: something changed since it was last taken

	mu    sync.Mutex
	began bool
}

// Build makes the store when the SDK starts.
func (s *watchedStore) Build(c subsystems.ClientContext) (subsystems.DataStore, error) {
	store, err := ldcomponents.InMemoryDataStore().Build(c)
	s.DataStore = store
	return s, err
}

func (s *watchedStore) Init(all []ldstoretypes.Collection) error {
	err := s.DataStore.Init(all)
	s.mu.Lock()
	s.began = s.began || err == nil
	s.mu.Unlock()
	s.tell()
	return err
}

func (s *watchedStore) Upsert(kind ldstoretypes.DataKind, key string, item ldstoretypes.ItemDescriptor) (bool, error) {
	updated, err := s.DataStore.Upsert(kind, key, item)
	s.tell()
	return updated, err
}

func (s *watchedStore) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *watchedStore) initialized() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// flag is nil if the SDK was told of none, or of its deletion.
func (s *watchedStore) flag(key string) (*ldmodel.FeatureFlag, error) {
	item, err := s.Get(ldstoreimpl.Features(), key)
	if err != nil || item.Item == nil {
		return nil, err
	}
	flag, ok := item.Item.(*ldmodel.FeatureFlag)
	if !ok {
		return nil, fmt.Errorf("the SDK holds a %T", item.Item)
	}
	return flag, nil
}
