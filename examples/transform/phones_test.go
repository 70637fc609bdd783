package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

func TestNumbersAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ country, phone, want string }{
		{"DE", "030 / 901820", "+4930901820"},
		{"DE", "0049 (30) 90-18-20", "+4930901820"},
		{"GB", "+44 (0)20 7946 0958", "+442079460958"},
		{"GB", "020 7946 0958 ext. 12", "+442079460958"},
		{"US", "1-202-555-0175 x4", "+12025550175"},
		{"US", "(202) 555.0175", "+12025550175"},
		{"IT", "06 6982 0123", "+390669820123"}, // the zero is part of the number
		{"HU", "06 1 234 5678", "+3612345678"},
		{"", "+33 1 23 45 67 89", "+33123456789"},
		{"FR", "０１ ２３ ４５ ６７ ８９", "+33123456789"}, // full width
		{"NL", "٠٢٠–١٢٣٤٥٦٧", "+31201234567"},    // Arabic-Indic
	} {
		got, err := e164(c.country, c.phone)
		require.NoError(t, err, c.phone)
		require.Equal(t, c.want, got, c.phone)
	}
}

func TestWhatIsNoNumberIsRefusedWithoutNamingIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		country, phone string
		want           error
	}{
		{"XX", "030 901820", errCountry}, {"DE", "030 901820 (home)", errLetters}, {"DE", "110", errLength},
		{"DE", "", errLength}, {"DE", "+49 30 9018200000000", errLength},
	} {
		_, err := phones().Rows(t.Context(), [][]any{{"DE", "030 901820"}, {c.country, c.phone}})
		refused, ok := err.(*backfill.RowError)
		require.True(t, ok, c.phone)
		require.Equal(t, 1, refused.Row)
		require.ErrorIs(t, refused, c.want)
	}
}
