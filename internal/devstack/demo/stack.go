// Package demo runs everything that a migration needs, for real and on this machine: Postgres, Temporal, a
// LaunchDarkly-compatible flag server, a Slack-compatible chat, the example shop and a contraflow worker, each of the last two
// as a process of its own. The demo and the end-to-end tests stand on it.
package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/plan"
)

const (
	anyPort = "127.0.0.1:0"
	// channel of the chat; an id, as Slack wants it in configurations.
	channel = "C0MIGRATIONS"
)

// Options of a stack; the zero value is a shop without customers and the example's plan as it stands.
type Options struct {
	// Rows of customers to seed. Defaults to none.
	Rows int64
	// Edit changes the plan before the worker sees it, for example how fast it may go. Defaults to no change.
	Edit func(*plan.Plan)
	// Binaries to run. Defaults to those that `make build` leaves.
	Binaries Binaries
	// UI asks for Temporal's web interface.
	UI bool
	// Keep leaves the folder with the logs, the plan and Temporal's history where it is.
	Keep bool
	// Say is told about each part that has started. Defaults to silence.
	Say func(part, about string)
}

// Stack is all parts, running. Stop it.
type Stack struct {
	Postgres *postgres.Cluster
	Temporal *temporalserver.Server
	Flags    *flagserver.Server
	Chat     *chatserver.Server
	Shop     *Process
	// Plan as the worker knows it.
	Plan *plan.Plan
	// Pool to the shop's database, as the role that owns it.
	Pool *pgxpool.Pool
	// Client of Temporal.
	Client client.Client
	// Folder with the logs, the plan root and the worker's configuration.
	Folder string

	options Options
	example string // folder of the worked example
	secrets secrets
	broken  chan error

	mu     sync.Mutex
	worker *Process // nil while there is none
	undo   []func() // what Stop does, in reverse
}

// secrets are new for every stack, so a leak of one can be searched for.
type secrets struct{ flagToken, sdkKey, chatToken, signing string }

// Start starts everything. ctx bounds the start, not the stack's life. When it fails, nothing is left running; the error shows
// the end of the log of the part that failed.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if o.Say == nil {
		o.Say = func(string, string) {}
	}
	s := &Stack{
		options: o, broken: make(chan error, 1),
		secrets: secrets{"api-" + rand.Text(), "sdk-" + rand.Text(), "xoxb-" + rand.Text(), rand.Text()},
	}
	for _, part := range []func(context.Context) error{
		s.makeFolder, s.startPostgres, s.startTemporal, s.startFlags, s.startChat, s.startShop, s.configure, s.StartWorker,
	} {
		if err := part(ctx); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// Stop ends every part, newest first, and removes the folder unless it is to be kept. It may be called twice.
func (s *Stack) Stop() {
	s.StopWorker()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, undo := range slices.Backward(s.undo) {
		undo()
	}
	s.undo = nil
}

// Broken gets an error when a process ends that nobody asked to; the error holds the end of its log, and is a *WorkerEnded
// when it was the worker.
func (s *Stack) Broken() <-chan error { return s.broken }

// DSN of the shop's database, as the role that owns it.
func (s *Stack) DSN() string { return s.Postgres.DSN(role, database) }

func (s *Stack) later(undo func()) { s.undo = append(s.undo, undo) }

// tellBroken keeps the first.
func (s *Stack) tellBroken(err error) {
	select {
	case s.broken <- err:
	default:
	}
}

func (s *Stack) makeFolder(context.Context) error {
	if s.options.Binaries == (Binaries{}) {
		built, err := Built()
		if err != nil {
			return err
		}
		s.options.Binaries = built
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "contraflow-demo-")
	if err != nil {
		return err
	}
	s.Folder, s.example = folder, filepath.Join(root, "examples", "shop")
	if !s.options.Keep {
		s.later(func() { _ = os.RemoveAll(folder) }) // left-overs of a temporary folder hurt nobody
	}
	return nil
}

func (s *Stack) startPostgres(ctx context.Context) error {
	cluster, err := postgres.Start(ctx, postgres.Options{})
	if err != nil {
		return err
	}
	s.Postgres = cluster
	s.later(func() {
		if s.options.Keep {
			_ = os.WriteFile(s.log("postgres"), []byte(cluster.Log()+"\n"), 0o600) // its own folder goes away
		}
		cluster.Stop()
	})
	if err := cluster.CreateRole(ctx, role); err != nil {
		return fmt.Errorf("create role %s: %w", role, err)
	}
	if err := cluster.CreateDatabase(ctx, database, role); err != nil {
		return fmt.Errorf("create database %s: %w", database, err)
	}
	// The pool outlives ctx, which bounds the start alone.
	s.Pool, err = pg.Open(context.WithoutCancel(ctx), s.DSN(), pg.Settings{ApplicationName: "contraflow demo"})
	if err != nil {
		return err
	}
	s.later(s.Pool.Close)
	s.options.Say("Postgres", fmt.Sprintf("127.0.0.1:%d, database %s", cluster.Port, database))
	if err := Fill(ctx, s.Pool, s.DSN(), s.example, s.options.Rows); err != nil {
		return err
	}
	s.options.Say("customers", "migrated to version 1 by golang-migrate, and seeded")
	return nil
}

func (s *Stack) startTemporal(ctx context.Context) error {
	server, err := temporalserver.Start(ctx, temporalserver.Options{
		UI: s.options.UI, DBFile: filepath.Join(s.Folder, "temporal.db"), LogFile: s.log("temporal"),
	})
	if err != nil {
		return err
	}
	s.Temporal = server
	s.later(server.Stop)
	s.Client, err = client.DialContext(ctx, client.Options{
		HostPort: server.Address(), Namespace: temporalserver.Namespace, Logger: temporalserver.Quiet(),
	})
	if err != nil {
		return fmt.Errorf("connect to Temporal at %s: %w", server.Address(), err)
	}
	s.later(s.Client.Close)
	about := server.Address()
	if s.options.UI {
		about += ", UI " + server.UIURL()
	}
	s.options.Say("Temporal", about)
	return nil
}

func (s *Stack) startFlags(context.Context) error {
	s.Flags = flagserver.New(flagserver.Options{
		Project: "shop", Environment: "production", APIToken: s.secrets.flagToken, SDKKey: s.secrets.sdkKey,
	})
	if err := s.Flags.Start(anyPort); err != nil {
		return err
	}
	s.later(func() { _ = s.Flags.Close() })
	for _, key := range []string{app.WriteNewFlag, app.ReadNewFlag} {
		if err := s.Flags.CreateFlag(key); err != nil {
			return err
		}
	}
	s.options.Say("flags", s.Flags.URL()+", speaks LaunchDarkly's protocols")
	return nil
}

func (s *Stack) startChat(context.Context) error {
	s.Chat = chatserver.New(chatserver.Options{
		Token: s.secrets.chatToken, SigningSecret: s.secrets.signing,
		People: []chatserver.Person{{ID: Alice, Name: "alice"}, {ID: Bob, Name: "bob"}},
	})
	if err := s.Chat.Start(anyPort); err != nil {
		return err
	}
	s.later(func() { _ = s.Chat.Close() })
	s.options.Say("chat", s.Chat.URL()+", speaks Slack's")
	return nil
}

func (s *Stack) startShop(ctx context.Context) error {
	process, err := Program{
		Name: "shop", Path: s.options.Binaries.Shop, Log: s.log("shop"), Broken: s.tellBroken,
		Args: []string{"serve", "--debug", "--listen", anyPort},
		Env:  []string{"SHOP_DSN=" + s.DSN(), "SHOP_LD_SDK_KEY=" + s.secrets.sdkKey, "SHOP_LD_URL=" + s.Flags.URL()},
	}.Start(ctx)
	if err != nil {
		return err
	}
	s.Shop = process
	s.later(process.Stop)
	s.options.Say("shop", process.URL)
	return nil
}

func (s *Stack) log(of string) string { return filepath.Join(s.Folder, of+".log") }
