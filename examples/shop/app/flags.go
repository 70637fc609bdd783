package app

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldlog"
	ldclient "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/ldfiledata"
	"github.com/launchdarkly/go-server-sdk/v7/ldfilewatch"
)

const (
	// WriteNewFlag makes writes go to both shapes.
	WriteNewFlag = "customers-write-new"
	// ReadNewFlag makes reads come from the new shape.
	ReadNewFlag = "customers-read-new"
)

// Flags is what the shop needs of LaunchDarkly's client.
type Flags interface {
	BoolVariation(key string, context ldcontext.Context, defaultVal bool) (bool, error)
}

func writeNew(f Flags, id int64) bool { return on(f, WriteNewFlag, id) }
func readNew(f Flags, id int64) bool  { return on(f, ReadNewFlag, id) }

// on asks about one customer, so that a rollout of 10 % is 10 % of the customers, always the same ones.
func on(f Flags, flag string, id int64) bool {
	// The error says why the fallback was served; the SDK has logged it, and the fallback is the right answer.
	value, _ := f.BoolVariation(flag, ldcontext.New(strconv.FormatInt(id, 10)), false)
	return value
}

// FlagSource says where the flags are. Set SDKKey (and URL, unless it is LaunchDarkly itself), or File.
type FlagSource struct {
	SDKKey string
	// URL of a flag service that speaks LaunchDarkly's SDK protocol. Defaults to LaunchDarkly.
	URL string
	// File with flags in the format of the SDK's file source; watched for changes.
	File string
	// FlushInterval at which evaluations are reported to the flag service. Defaults to the SDK's 5 s.
	FlushInterval time.Duration
}

// flagsWait bounds how long the start waits for the first flags; a shop without flags is better than no shop.
const flagsWait = 3 * time.Second

// OpenFlags connects to the source. If it does not answer in time, every flag is false until it does; that is logged, and is no
// error. Close the client to send what it still has to report.
func OpenFlags(source FlagSource, log *slog.Logger) (*ldclient.LDClient, error) {
	if (source.SDKKey == "") == (source.File == "") {
		return nil, errors.New("flags: give either an SDK key or a flag file")
	}
	config := ldclient.Config{
		DiagnosticOptOut: true,
		Logging:          ldcomponents.Logging().MinLevel(ldlog.Warn),
	}
	if source.File != "" {
		config.DataSource = ldfiledata.DataSource().FilePaths(source.File).Reloader(ldfilewatch.WatchFiles)
		config.Events = ldcomponents.NoEvents()
	} else {
		events := ldcomponents.SendEvents()
		if source.FlushInterval > 0 {
			events = events.FlushInterval(source.FlushInterval)
		}
		config.Events = events
		if source.URL != "" {
			config.ServiceEndpoints = ldcomponents.RelayProxyEndpoints(source.URL)
		}
	}
	client, err := ldclient.MakeCustomClient(source.SDKKey, config, flagsWait)
	if client == nil {
		return nil, fmt.Errorf("flags: %w", err)
	}
	if err != nil {
		log.Warn("flags cannot be had: every flag is false until they can", "error", err)
	}
	return client, nil
}
