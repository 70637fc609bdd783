// Package harnessattest tells package attest what the Go SDK of Harness Feature Flags evaluates. The SDK tells no versions; they
// are in its cache, which an application may bring along:
//
//	held, err := cache.NewLruCache(10000, logger.NewNoOpLogger())
//	seen := harnessattest.New(held)
//	sdk, err := harness.NewCfClient(key, harness.WithCache(seen))
//	attester, err := attest.Start(ctx, attest.Options{Source: seen, …})
package harnessattest

import (
	"context"
	"strings"

	"github.com/harness/ff-golang-server-sdk/cache"
	"github.com/harness/ff-golang-server-sdk/rest"

	"github.com/contraflow/contraflow/flags/attest"
)

// prefix of the keys under which the SDK's repository keeps flags:
// https://github.com/harness/ff-golang-server-sdk/blob/v0.1.24/pkg/repository/repository.go
const prefix = "flag/"

// Cache is a cache for the SDK, and the source of what is in it.
type Cache struct {
	cache.Cache
	changes chan struct{} // holds at most one token: a flag has changed since it was last taken
}

var (
	_ cache.Cache    = (*Cache)(nil)
	_ attest.Watcher = (*Cache)(nil)
)

// New makes a source of any cache, such as cache.NewLruCache.
func New(held cache.Cache) *Cache { return &Cache{Cache: held, changes: make(chan struct{}, 1)} }

// Set is called by the SDK.
func (c *Cache) Set(key, value any) (evicted bool) {
	evicted = c.Cache.Set(key, value)
	c.changed(key)
	return evicted
}

// Remove is called by the SDK.
func (c *Cache) Remove(key any) (present bool) {
	present = c.Cache.Remove(key)
	c.changed(key)
	return present
}

func (c *Cache) changed(key any) {
	if name, ok := key.(string); !ok || !strings.HasPrefix(name, prefix) {
		return
	}
	select {
	case c.changes <- struct{}{}:
	default:
	}
}

// See tells versions as the SDK has them. A value is what everybody is served only where the flag is off.
func (c *Cache) See(keys []string) []attest.Seen {
	var seen []attest.Seen
	for _, key := range keys {
		held, _ := c.Get(prefix + key)
		flag, ok := held.(rest.FeatureConfig)
		if !ok || flag.Version == nil {
			continue
		}
		now := attest.Seen{Key: key, Version: int(*flag.Version)}
		if flag.State == rest.FeatureStateOff {
			now.Value = value(flag, flag.OffVariation)
		}
		seen = append(seen, now)
	}
	return seen
}

// value of a variation; nil where there is none of that name.
func value(flag rest.FeatureConfig, variation string) *string {
	for _, v := range flag.Variations {
		if v.Identifier == variation {
			return &v.Value
		}
	}
	return nil
}

// Watch hears of each flag that the SDK takes in.
func (c *Cache) Watch(ctx context.Context, changed func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.changes:
			changed()
		}
	}
}
