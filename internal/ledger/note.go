package ledger

import "fmt"

// StepNote is what a flag service is told of a step's changes. The kill switch finds by it what the step has asked people for.
func StepNote(migration, step, shortPlanHash string) string {
	return fmt.Sprintf("contraflow: migration %s, step %s, plan hash %s", migration, step, shortPlanHash)
}

// KillNote begins what a flag service is told of the kill switch, before ": " and who pressed it.
func KillNote(migration string) string {
	return fmt.Sprintf("contraflow: kill switch of migration %s", migration)
}
