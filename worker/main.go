// Command contraflow-worker runs migrations: it reads its configuration, connects to Temporal and works until it is told to
// stop. Package service makes a worker of one's own as short as this one.
package main

import (
	"os"

	"github.com/contraflow/contraflow/worker/service"
)

func main() { os.Exit(service.Main(service.Options{})) }
