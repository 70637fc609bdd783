package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

// secret reads what must not stand on a command line.
func (c console) secret(name string) (string, error) {
	if value := c.env(name); value != "" {
		return value, nil
	}
	return "", &usageError{fmt.Errorf("%s is not set in the environment: choose a value, and give the same to whoever connects", name)}
}

// listening says on stdout where a server listens.
func (c console) listening(url string) error {
	return json.NewEncoder(c.stdout).Encode(map[string]string{"listening": url})
}

func newFlagServer(c console) *cobra.Command {
	var listen string
	var o flagserver.Options
	var keys []string
	command := &cobra.Command{
		Use: "flag-server", Short: "Serve flags as LaunchDarkly does", Args: cobra.NoArgs,
		Long: "Serve flags as LaunchDarkly does, to its REST clients and its SDKs, until interrupted.\nEnvironment: LD_TOKEN (of REST requests) and LD_SDK_KEY (of SDKs).",
	}
	command.Flags().StringVar(&listen, "listen", "127.0.0.1:8030", "address to listen on; port 0 takes a free one, and stdout says which")
	command.Flags().StringVar(&o.Project, "project", "shop", "key of the one project")
	command.Flags().StringVar(&o.Environment, "environment", "production", "key of its one environment")
	command.Flags().StringVar(&o.File, "file", "", "file to keep the flags in (default memory only)")
	command.Flags().StringArrayVar(&keys, "flag", nil, "key of a boolean flag to create, off, unless it is there; may be repeated")
	command.RunE = func(command *cobra.Command, _ []string) (err error) {
		if o.APIToken, err = c.secret("LD_TOKEN"); err != nil {
			return err
		}
		if o.SDKKey, err = c.secret("LD_SDK_KEY"); err != nil {
			return err
		}
		server := flagserver.New(o)
		if err := server.Start(listen); err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
		for _, key := range keys {
			if err := server.CreateFlag(key); err != nil {
				return err
			}
		}
		if err := c.listening(server.URL()); err != nil {
			return err
		}
		<-command.Context().Done()
		return nil
	}
	return command
}

func newChatServer(c console) *cobra.Command {
	var listen, interactions string
	var people []string
	command := &cobra.Command{
		Use: "chat-server", Short: "Serve a chat as Slack does", Args: cobra.NoArgs,
		Long: "Serve a chat as Slack does, with a web page whose buttons work, until interrupted.\nEnvironment: SLACK_TOKEN (of clients) and SLACK_SIGNING_SECRET (of the clicks it sends).",
	}
	command.Flags().StringVar(&listen, "listen", "127.0.0.1:8040", "address to listen on; port 0 takes a free one, and stdout says which")
	command.Flags().StringVar(&interactions, "interactions-url", "", "where clicks go: the worker's address with /slack/interactions")
	command.Flags().StringArrayVar(&people, "person", []string{"U0ALICE=alice", "U0BOB=bob"}, "ID=NAME of somebody who may press buttons; may be repeated")
	command.RunE = func(command *cobra.Command, _ []string) error {
		o := chatserver.Options{InteractionsURL: interactions}
		var err error
		if o.Token, err = c.secret("SLACK_TOKEN"); err != nil {
			return err
		}
		if o.SigningSecret, err = c.secret("SLACK_SIGNING_SECRET"); err != nil {
			return err
		}
		if o.People, err = parsePeople(people); err != nil {
			return err
		}
		server := chatserver.New(o)
		if err := server.Start(listen); err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
		if err := c.listening(server.URL()); err != nil {
			return err
		}
		<-command.Context().Done()
		return nil
	}
	return command
}

func parsePeople(pairs []string) ([]chatserver.Person, error) {
	var people []chatserver.Person
	for _, pair := range pairs {
		id, name, ok := strings.Cut(pair, "=")
		if !ok || id == "" || name == "" {
			return nil, &usageError{fmt.Errorf("--person is %q: give ID=NAME, as in U0ALICE=alice", pair)}
		}
		people = append(people, chatserver.Person{ID: id, Name: name})
	}
	return people, nil
}
