package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// wanted is the change that a stage makes of a flag; none where the flag serves more than that already: a stage never lowers a
// flag, so that a plan that is started again goes on where it stopped.
func (in FlagInput) wanted(now flags.State) (c flags.Change, needed bool) {
	if in.Stage != "" {
		c.Stage = flags.Stage(in.Stage)
		return c, now.Stage.Order() <= c.Stage.Order()
	}
	c = flags.Change{Percent: in.Percent, ContextKind: in.ContextKind, Targets: in.Targets, Segments: in.Segments}
	if in.Percent == 0 && len(in.Targets)+len(in.Segments) == 0 { // the kill switch keeps out all whom the stage is for
		return c, false
	}
	if !now.On || now.Percent <= float64(in.Percent) {
		return c, true
	}
	c.Percent = int(math.Ceil(now.Percent)) // the named are served true, and nobody loses it
	return c, len(in.Targets)+len(in.Segments) > 0
}

// putBack is the stage to put back a flag to that the kill switch has turned off: what it served when that happened, if a stage found
// it at more than its own.
func (in FlagInput) putBack(ps presses, now flags.State) FlagInput {
	if lit(now) || in.Force { // people were shown the flag as it is, and go on from that
		return in
	}
	var was flags.State
	for _, k := range ps {
		var found flags.State
		if k.Key == in.Key && k.Everybody() && k.FirstRun == in.Origin.FirstRun && k.ID <= in.Kills && json.Unmarshal(k.Found, &found) == nil && lit(found) {
			was = found
		}
	}
	switch {
	case in.Stage == "":
		in.Percent = max(in.Percent, int(math.Ceil(was.Percent)))
	case was.Stage.Order() > flags.Stage(in.Stage).Order():
		in.Stage = string(was.Stage)
	}
	return in
}

// without leaves out of the named contexts those that the kill switch has taken out of this flag, which stay so, and says how many.
func (in FlagInput) without(ps presses) (left FlagInput, out int) {
	targets := map[string][]string{}
	for kind, keys := range in.Targets {
		stay := slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
			return slices.ContainsFunc(ps, func(k ledger.Kill) bool {
				return k.Key == in.Key && k.ContextKind == kind && k.ContextKey == key
			})
		})
		if out += len(keys) - len(stay); len(stay) > 0 {
			targets[kind] = stay
		}
	}
	in.Targets = targets
	return in, out
}

// full is the change that reaches everybody.
func (in FlagInput) full() flags.Change {
	if in.Stage != "" {
		return flags.Change{Stage: flags.StageComplete}
	}
	return flags.Change{Percent: 100, Targets: in.Targets, Segments: in.Segments}
}

func (in FlagInput) isFull() bool {
	return in.Percent == 100 || flags.Stage(in.Stage) == flags.StageComplete
}

// reached tells whether a state serves what the last stage does.
func (in FlagInput) reached(s flags.State) bool {
	if in.Stage != "" {
		return s.On && s.Stage == flags.StageComplete
	}
	return s.On && s.Percent == 100
}

// reachesEverybody refuses a flag that even at its last stage could serve something else to somebody: the plan would go on under
// an application that still lives in the old shape. Begin has asked it of the flag as it was then, so that nothing is half done;
// it is asked again at every stage. A context that the kill switch has taken out is in the way of the last stage alone, and not if the flag was there
// already when that happened, or people go on without it. mine is r behind the decision to go on.
func (a *Activities) reachesEverybody(
	ctx context.Context, db *Database, provider flags.Provider, in FlagInput, now flags.State, r, mine flagRecord,
) error {
	full, err := provider.Preview(ctx, in.Key, in.full())
	if err != nil {
		return err
	}
	if !in.Force && in.split(now) {
		return in.takesFromSome(now, "retry; or roll back")
	}
	leftOut := in.leftOut(full)
	switch {
	case leftOut == "", r.presses.excluded(in.Key) && (!in.isFull() || slices.ContainsFunc(r.ours, in.reached) || r.forced(ctx, in, now)):
		return nil
	case r.presses.excluded(in.Key):
		return a.show(ctx, db, in, mine, now, false, permanent("Stranger", "%sretry; or roll back. A context that the kill switch has turned it off for is "+
			"among them: force goes on without it", leftOut))
	case r.begun(): // its first stage has found nothing
		return permanent("Refused", "%sretry; or roll back", leftOut)
	}
	return permanent("Flag", "%sstart the plan again", leftOut)
}

// leftOut says, up to the way out, whom the flag leaves out in the state full, behind its last stage; "" for nobody.
func (in FlagInput) leftOut(full flags.State) string {
	if len(full.Exceptions) == 0 {
		return ""
	}
	least, most := "false", "at 100 %"
	if in.Stage != "" {
		least, most = "another stage", "at stage complete"
	}
	return fmt.Sprintf("flag %s could serve %s even %s (%s): take that out of its targeting, or let it serve what the default rule does, then ",
		in.Key, least, most, strings.Join(full.Exceptions, ", "))
}

// split tells whether the default rule of a migration flag serves several stages, of which none says who may be served the next.
func (in FlagInput) split(now flags.State) bool { return in.Stage != "" && now.On && now.Stage == "" }

func (in FlagInput) takesFromSome(now flags.State, then string) error {
	return permanent("Flag", "flag %s is %q, and a stage for everybody could take a later one from some: let its default rule serve one stage, then %s",
		in.Key, now.Summary, then)
}

// found is the flag as it is; one that is missing is made first, if the plan says so.
func (a *Activities) found(ctx context.Context, db *Database, provider flags.Provider, in FlagInput, r flagRecord) (flags.State, error) {
	now, err := provider.Get(ctx, in.Key)
	if !errors.Is(err, flags.ErrNotFound) {
		return now, err
	}
	if r.begun() {
		return flags.State{}, r.missing(in.Key)
	}
	if in.Create == nil {
		return flags.State{}, err
	}
	maker, ok := provider.(flags.Creator)
	if !ok {
		return flags.State{}, noCreator(in.Key)
	}
	// First the intent: nobody shall have to guess where a flag comes from.
	if err := audit(ctx, db, in.Origin, "making flag", in.Key); err != nil {
		return flags.State{}, err
	}
	if err := a.fence(ctx, db, in, r, false); err != nil {
		return flags.State{}, err
	}
	if err := maker.Create(ctx, in.Key, in.newFlag(in.Origin.Plan)); err != nil {
		return flags.State{}, err
	}
	return provider.Get(ctx, in.Key)
}

// newFlag is what the plan's create makes.
func (in FlagInput) newFlag(plan string) flags.NewFlag {
	f := flags.NewFlag{
		Name: in.Create.Name, Description: cmp.Or(in.Create.Description, "Made by contraflow for the plan "+plan+"."),
		Tags: in.Create.Tags, Migration: in.Stage != "",
	}
	if f.Migration { // what a percentage is taken over is nothing that a boolean flag is made with
		f.ContextKind = in.ContextKind
	}
	return f
}

func noCreator(key string) error {
	return permanent("Flag", "flag %s is missing, and this flag service has no way to make flags that contraflow knows: make it there, and remove create from the plan", key)
}
