package rehearse

import (
	"fmt"
	"regexp"
)

const (
	// diffContext lines around a difference tell which object it is in.
	diffContext = 3
	// diffShown is how many lines of differences help; with more, the files are not each other's inverse at all.
	diffShown = 120
	// diffCells bounds the comparison's memory; two larger blocks are shown as wholly exchanged.
	diffCells = 4_000_000
)

// secret matches lines of a dump that may hold a password, such as a server's options.
var secret = regexp.MustCompile(`(?i)passw|secret|token|api_?key|connstr|credential`)

// difference lists the lines of a unified diff; none if both are the same.
func difference(before, after []string) []string {
	edits := compareLines(before, after)
	var out []string
	for i, e := range edits {
		if !nearChange(edits, i) {
			continue
		}
		if e.sign == ' ' && (i == 0 || !nearChange(edits, i-1)) {
			out = append(out, "@@")
		}
		if secret.MatchString(e.line) {
			e.line = "(withheld: it may hold a password)"
		}
		out = append(out, string(e.sign)+e.line)
	}
	if hidden := len(out) - diffShown; hidden > 0 {
		out = append(out[:diffShown], fmt.Sprintf("… and %d lines more", hidden))
	}
	return out
}

// edit is a line that stays (' '), goes ('-') or comes ('+').
type edit struct {
	sign rune
	line string
}

func nearChange(edits []edit, at int) bool {
	for i := max(0, at-diffContext); i <= min(len(edits)-1, at+diffContext); i++ {
		if edits[i].sign != ' ' {
			return true
		}
	}
	return false
}

func compareLines(before, after []string) []edit {
	head := 0
	for head < min(len(before), len(after)) && before[head] == after[head] {
		head++
	}
	tail := 0
	for tail < min(len(before), len(after))-head && before[len(before)-1-tail] == after[len(after)-1-tail] {
		tail++
	}
	var edits []edit
	add := func(sign rune, lines []string) {
		for _, line := range lines {
			edits = append(edits, edit{sign, line})
		}
	}
	add(' ', before[:head])
	edits = append(edits, longestCommon(before[head:len(before)-tail], after[head:len(after)-tail])...)
	add(' ', before[len(before)-tail:])
	return edits
}

// longestCommon is the textbook's table of longest common subsequences, read from its start.
func longestCommon(a, b []string) []edit {
	var edits []edit
	i, j := 0, 0
	if len(a)*len(b) <= diffCells {
		width := len(b) + 1
		length := make([]int32, (len(a)+1)*width)
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					length[i*width+j] = length[(i+1)*width+j+1] + 1
				} else {
					length[i*width+j] = max(length[(i+1)*width+j], length[i*width+j+1])
				}
			}
		}
		for i < len(a) && j < len(b) {
			switch {
			case a[i] == b[j]:
				edits = append(edits, edit{' ', a[i]})
				i, j = i+1, j+1
			case length[(i+1)*width+j] >= length[i*width+j+1]:
				edits = append(edits, edit{'-', a[i]})
				i++
			default:
				edits = append(edits, edit{'+', b[j]})
				j++
			}
		}
	}
	for ; i < len(a); i++ {
		edits = append(edits, edit{'-', a[i]})
	}
	for ; j < len(b); j++ {
		edits = append(edits, edit{'+', b[j]})
	}
	return edits
}
