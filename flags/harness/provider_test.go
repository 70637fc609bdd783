package harness_test

import (
	"net/http"
	"testing"

	"github.com/contraflow/contraflow/flags/flagstest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	flagstest.Run(t, func(t *testing.T) flagstest.Fixture {
		b := setup(t)
		b.furnish(t, "furnished")
		b.admin(t, http.MethodPost, "", `{"identifier": "text", "name": "text", "kind": "string", "project": "shop",
			"defaultOnVariation": "a", "defaultOffVariation": "b",
			"variations": [{"identifier": "a", "name": "a", "value": "a"}, {"identifier": "b", "name": "b", "value": "b"}]}`)
		return flagstest.Fixture{
			Provider: b.provider, Plain: plain, Furnished: "furnished", Text: "text",
			Application: b.application,
			Target: func(t *testing.T, key, user string) {
				b.instruct(t, key, `{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["`+user+`"]}}`)
			},
		}.LikeLaunchDarkly()
	})
}
