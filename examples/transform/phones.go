package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/contraflow/contraflow/backfill"
)

// phones is the transform: of a country and a phone number as somebody typed it, the number in the form of E.164. It reads
// nothing but its arguments, so it says the same again when a batch comes a second time.
func phones() backfill.Transform {
	return backfill.Transform{
		Read:  []string{"country", "phone"},
		Write: []string{"phone_e164"},
		Rows: func(_ context.Context, rows [][]any) ([][]any, error) {
			for i, row := range rows {
				country, _ := row[0].(string) // "" for null
				phone, _ := row[1].(string)
				number, err := e164(country, phone)
				if err != nil {
					return nil, &backfill.RowError{Row: i, Err: err}
				}
				rows[i] = []any{number}
			}
			return rows, nil
		},
	}
}

// What is wrong with a number, without the number: these words are recorded.
var (
	errCountry = errors.New("it has no country code, and the contact's country is not one of those we serve")
	errLength  = errors.New("it is too short or too long for a phone number")
	errLetters = errors.New("it holds something that is no part of a phone number")
)

// dialling of a country: its code, and the prefix that stands before the area code within the country alone.
type dialling struct{ code, trunk string }

var countries = map[string]dialling{
	"AT": {"43", "0"}, "CH": {"41", "0"}, "DE": {"49", "0"}, "ES": {"34", ""}, "FR": {"33", "0"}, "GB": {"44", "0"},
	"HU": {"36", "06"}, "IT": {"39", ""}, "NL": {"31", "0"}, "PL": {"48", ""}, "US": {"1", "1"},
}

var (
	// extension is what is dialled after the connection stands, as people write it.
	extension = regexp.MustCompile(`(?i)(ext\.?|x|durchwahl|poste)\s*[0-9]+$`)
	// national is the trunk prefix that many write behind the country code, where it is not dialled: +44 (0)20 …
	national = regexp.MustCompile(`\(\s*0\s*\)`)
)

// punctuation that groups digits; NFKC has made plain characters of the wide ones.
const punctuation = " -./()\t\u2010\u2011\u2012\u2013\u2014\u2212\u200e\u200f\u202a\u202c"

func e164(country, phone string) (string, error) {
	phone = norm.NFKC.String(strings.TrimSpace(phone))
	phone = extension.ReplaceAllString(phone, "")
	digits, international, err := dialled(phone)
	if err != nil {
		return "", err
	}
	if !international {
		c, known := countries[country]
		if !known {
			return "", errCountry
		}
		digits = c.code + strings.TrimPrefix(digits, c.trunk)
	}
	if len(digits) < 8 || len(digits) > 15 { // E.164: at most 15; no country numbers its subscribers in fewer than 8
		return "", errLength
	}
	return "+" + digits, nil
}

// dialled is what one would press: the digits of any script, and whether they begin with a country code.
func dialled(phone string) (digits string, international bool, err error) {
	phone, international = strings.CutPrefix(phone, "+")
	if international {
		phone = national.ReplaceAllString(phone, "")
	}
	var b strings.Builder
	for _, r := range phone {
		switch {
		case unicode.Is(unicode.Nd, r):
			fmt.Fprint(&b, digit(r))
		case !strings.ContainsRune(punctuation, r):
			return "", false, errLetters
		}
	}
	digits = b.String()
	if abroad, is := strings.CutPrefix(digits, "00"); is && !international {
		return abroad, true, nil
	}
	return digits, international, nil
}

// digit is the value of a decimal digit: Unicode keeps those of each script together, in order, from 0 to 9.
func digit(r rune) int {
	value := 0
	for value < 9 && unicode.Is(unicode.Nd, r-1) {
		r, value = r-1, value+1
	}
	return value
}
