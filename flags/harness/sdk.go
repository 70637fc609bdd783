package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/harness/ff-golang-server-sdk/rest"

	"github.com/contraflow/contraflow/flags"
)

// lookAgain is how often what SDKs are told is asked for while the stream is silent: SDKs themselves poll once a minute,
// which is longer than a read-back.
const lookAgain = time.Second

// errNotSeen is the end of the wait for a change.
var errNotSeen = errors.New("not seen where SDKs read")

// awaitServed waits until SDKs are told the configuration that the admin API answered. They evaluate from nothing else,
// so then an application is served it. The version is the one that they are told with it; the admin API's where there is none.
func (p *Provider) awaitServed(ctx context.Context, after snapshot) (version int, err error) {
	key, version := after.state.Key, after.state.Version
	if after.state.Archived {
		return version, p.awaitGone(ctx, key)
	}
	err = p.await(ctx, key, func(told *rest.FeatureConfig) bool {
		if told == nil {
			return false
		}
		c, err := fromSDK(*told)
		if err != nil || !after.configuration.equal(c) {
			return false
		}
		if told.Version != nil {
			version = int(*told.Version)
		}
		return true
	})
	if !errors.Is(err, errNotSeen) {
		return version, err
	}
	// A stranger who changed it meanwhile explains the silence better than a slow stream.
	if now, readErr := p.read(ctx, key); readErr == nil && !now.configuration.equal(after.configuration) {
		return 0, fmt.Errorf("flag %q was changed again before the change was seen: %w", key, flags.ErrConflict)
	}
	return 0, err
}

func (p *Provider) awaitGone(ctx context.Context, key string) error {
	return p.await(ctx, key, func(told *rest.FeatureConfig) bool { return told == nil })
}

func fromSDK(told rest.FeatureConfig) (configuration, error) {
	raw, err := json.Marshal(told)
	if err != nil {
		return configuration{}, err
	}
	var shape struct {
		environment
		VariationToTargetMap []targetMapping `json:"variationToTargetMap"`
		Prerequisites        []prerequisite  `json:"prerequisites"`
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		return configuration{}, err
	}
	shape.VariationMap = shape.VariationToTargetMap
	return shape.configuration(shape.Prerequisites), nil
}

// await reads with the parts Harness's SDK is made of: its REST client, its stream and its repository. The SDK's whole
// client is none for a moment: it blocks without a context, and leaves goroutines behind when it is closed.
func (p *Provider) await(ctx context.Context, key string, seen func(*rest.FeatureConfig) bool) error {
	patience := time.NewTimer(p.config.ReadBack)
	defer patience.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := newReader(p.sdk.String(), p.config.SDKKey, p.config.Environment, p.readers)
	if err != nil {
		return fmt.Errorf("read flag %q back: %w", key, err)
	}
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	var trouble error
	for {
		told, err := r.look(ctx, key)
		switch {
		case errors.Is(err, errElsewhere):
			return fmt.Errorf("flag %q: %w: give the server SDK key of environment %q: %w", key, err, p.config.Environment, flags.ErrUnauthorized)
		case errors.Is(err, flags.ErrUnauthorized):
			return fmt.Errorf("flag %q: %s refuses the SDK key: give the server SDK key of environment %q, or correct the SDK URL: %w",
				key, p.sdk.Redacted(), p.config.Environment, err)
		case err == nil && seen(told):
			return nil
		}
		trouble = err
		for waiting := true; waiting; {
			select {
			case <-r.changed:
				if told := r.held(key); seen(told) {
					return nil
				}
			case <-again.C:
				waiting = false
			case <-patience.C:
				return p.unseen(key, told, trouble, errNotSeen)
			case <-ctx.Done():
				return p.unseen(key, told, trouble, ctx.Err())
			}
		}
	}
}

func (p *Provider) unseen(key string, told *rest.FeatureConfig, trouble, end error) error {
	why := "they show another configuration"
	switch {
	case trouble != nil:
		why = trouble.Error()
	case told == nil:
		why = "they show no such flag"
	}
	return fmt.Errorf("flag %q: the change was made, but SDKs at %s are not told of it (%s): %w", key, p.sdk.Redacted(), why, end)
}
