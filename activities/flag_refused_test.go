package activities

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// What force can't mend is told as such: it would be asked about for ever.
func TestForceIsNotOfferedWhereItCannotHelp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*testing.T, *bundle)
		says  []string
	}{
		"archived": {func(t *testing.T, b *bundle) { b.patch(t, writeNew, `{"instructions": [{"kind": "archiveFlag"}]}`) },
			[]string{"it was archived", `this migration left it "on: 10 % true"`, "take it out of the archive, then retry"}},
		"gone": {func(t *testing.T, b *bundle) { b.rest(t, http.MethodDelete, "/api/v2/flags/shop/"+writeNew, "") }, []string{"it is gone", "make it again as it was, then retry"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
			require.NoError(t, err)
			c.spoil(t, b)
			in := begun.flag("write-new", writeNew, 50)
			for _, in.Force = range []bool{false, true} {
				_, err = b.apply(t, in)
				requirePermanent(t, err, "Refused", append(c.says, writeNew)...)
			}
		})
	}
}
