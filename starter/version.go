package main

import (
	"context"
	"runtime/debug"

	"github.com/spf13/cobra"
)

type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", GroupID: groupOffline, Short: "Tell which build this is", Args: needs(),
		RunE: a.does(func(context.Context, []string) error {
			b := readBuild()
			text := "contraflow " + b.Version
			if b.Revision != "" {
				text += " (" + b.Revision + ")"
			}
			return a.answer(b, "%s, %s", text, b.Go)
		}),
	}
}

// readBuild tells what the Go toolchain wrote into the program.
func readBuild() build {
	b := build{Version: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version, b.Go = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}
