// Command transform is a worker of one's own: contraflow's, with a transform in Go that brings phone numbers as people typed them
// into the form of E.164.
package main

import (
	"os"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/worker/service"
)

func main() {
	os.Exit(service.Main(service.Options{Transforms: map[string]backfill.Transform{"phone-e164": phones()}}))
}
