package ledger

import (
	"fmt"
	"strings"
)

// Home is the Temporal that a migration runs on: only there is it known whether it still does.
type Home struct {
	Namespace string `json:"namespace,omitempty"`
	// Cluster is Temporal's own id for itself; it loses it with its memory. Empty where it doesn't tell.
	Cluster string `json:"cluster,omitempty"`
	// Address as workers call it, made unambiguous: two machines may each have a localhost.
	Address string `json:"address,omitempty"`
}

// Same tells whether both are one Temporal: it says so itself, whatever its address; or it answers at the same address, and
// then may have lost its memory.
func (h Home) Same(other Home) bool {
	return h.Namespace == other.Namespace && (h.Cluster != "" && h.Cluster == other.Cluster || h.Address == other.Address)
}

func (h Home) String() string {
	return fmt.Sprintf("namespace %s of Temporal at %s", h.Namespace, h.Address)
}

// wayOut is for a holder that lives on another Temporal than the one who asks.
func (e *HeldError) wayOut() string {
	return fmt.Sprintf("finish it or roll it back there; only if that Temporal is gone for good, run on the target database: "+
		"update contraflow.migration set ended_at = now(), outcome = 'lost' where plan = %s and first_run = %s", literal(e.Plan), literal(e.Holder.FirstRun))
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
