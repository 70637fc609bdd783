package watch

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/contraflow/contraflow/signals"
)

type lockedBuffer struct {
	mu  sync.Mutex
	all strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.all.String(), text)
}

// screen understands as much of a terminal as redraw uses, and refuses the rest.
type screen struct {
	rows   []string
	at     int
	hidden bool
}

func (s *screen) write(t *testing.T, text string) {
	t.Helper()
	row, col := s.at, 0
	for text != "" {
		for len(s.rows) <= row {
			s.rows = append(s.rows, "")
		}
		switch {
		case strings.HasPrefix(text, hideCursor):
			s.hidden, text = true, text[len(hideCursor):]
		case strings.HasPrefix(text, showCursor):
			s.hidden, text = false, text[len(showCursor):]
		case strings.HasPrefix(text, clearLine):
			s.rows[row], text = string([]rune(s.rows[row])[:col]), text[len(clearLine):]
		case strings.HasPrefix(text, clearBelow):
			s.rows, text = append(s.rows[:row:row], string([]rune(s.rows[row])[:col])), text[len(clearBelow):]
		case strings.HasPrefix(text, "\x1b["):
			digits, rest, ok := strings.Cut(text[2:], "A")
			up, err := strconv.Atoi(digits)
			require.True(t, ok && err == nil && up <= row, "cannot obey %q in row %d", text, row)
			row, text = row-up, rest
		case text[0] == '\r':
			col, text = 0, text[1:]
		case text[0] == '\n':
			row, col, text = row+1, 0, text[1:]
		default:
			r := []rune(text)[0]
			line := []rune(s.rows[row])
			s.rows[row] = string(append(append(line[:col:col], r), line[min(col+1, len(line)):]...))
			col, text = col+1, text[len(string(r)):]
		}
	}
	s.at = row
}

func TestRedrawLeavesTheLastDrawingAlone(t *testing.T) {
	t.Parallel()
	s := &screen{}
	drawn := 0
	for _, lines := range [][]string{{"one", "two", "three"}, {"a long first line", "2"}, {"1", "2", "3", "4"}, {"ä"}} {
		s.write(t, redraw(lines, drawn, 0, false))
		drawn = len(lines)
		require.Equal(t, append(lines, ""), s.rows)
		require.True(t, s.hidden)
	}
}

func TestRedrawKeepsToTheScreen(t *testing.T) {
	t.Parallel()
	lines := []string{"1", "2", "3", "4", "5", "6"}
	const height = 5
	s := &screen{}
	s.write(t, redraw(lines, 0, height, false))
	require.Equal(t, []string{"1", "2", "3", "  … 3 more lines: make the window higher", ""}, s.rows)
	s.write(t, redraw(lines, 4, height, true))
	require.Equal(t, append(lines, ""), s.rows, "the last drawing is whole")
	require.Equal(t, []string{"1", "2", "3", "4", "5", "6"}, lines)
}

// terminal opens a pseudo terminal of the given size.
func terminal(t *testing.T, cols, rows uint16) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ours.Close() })
	fd := int(ours.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}))
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = theirs.Close() })
	return ours, theirs
}

func TestLiveOnATerminal(t *testing.T) {
	t.Parallel()
	ours, theirs := terminal(t, 72, 40)
	live := NewLive(theirs, func() []string { return []string{"traffic: 812/s"} })
	require.NoError(t, live.Show(running()))
	require.NoError(t, live.Trouble("Temporal does not answer, trying again"))
	require.NoError(t, live.Show(rolledBack()))
	require.NoError(t, live.Close())

	seen := &lockedBuffer{}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := ours.Read(buffer)
			_, _ = seen.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	require.Eventually(t, func() bool { return seen.has(showCursor) }, waitFor, time.Millisecond)
	for _, text := range []string{hideCursor, string(cyan) + "● running", "traffic: 812/s", "Temporal does not answer", "not on a Friday"} {
		require.True(t, seen.has(text), text)
	}
	for _, l := range Render(running(), Style{Width: 72, Color: true}) {
		require.True(t, seen.has(l), "as wide as the terminal: %q", l)
	}
}

func TestLiveInALogTellsChangesOnly(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	live := NewLive(&out, nil)
	s := running()
	require.NoError(t, live.Show(s))
	first := out.Len()
	require.Positive(t, first)
	for i := range 20 { // numbers move, nothing happens
		next := running()
		next.At = s.At.Add(time.Duration(i) * time.Second)
		next.Progress[1].Scanned += int64(i)
		next.Progress[1].Holding = fmt.Sprintf("replica lag is %d s, 10 s are allowed", 12+i)
		require.NoError(t, live.Show(next))
	}
	require.Equal(t, first, out.Len(), out.String()[first:])

	gone := running()
	gone.Status, gone.NoWorker, gone.Readings = nil, true, nil
	require.NoError(t, live.Show(gone))
	require.NoError(t, live.Show(s))
	require.Equal(t, "14:02:14  "+noWorker+"\n14:02:14  A worker answers again.\n", out.String()[first:])

	require.NoError(t, live.Trouble("away"))
	require.NoError(t, live.Trouble("away"))
	require.NoError(t, live.Show(s))
	require.Equal(t, 1, strings.Count(out.String(), "away"))
	require.Equal(t, 1, strings.Count(out.String(), "Temporal answers again"))
	require.NotContains(t, out.String(), "\x1b")
	require.NoError(t, live.Close())
}

func TestChanges(t *testing.T) {
	t.Parallel()
	var told []string
	var before *Snapshot
	undone := rolledBack()
	fill := running()
	fill.Progress[0].Scanned += 100_000
	absent := running()
	absent.NoWorker, absent.Status, absent.Progress, absent.Readings = true, nil, nil, nil
	for _, s := range []Snapshot{running(), fill, waiting(), absent, waiting(), stuck(), undone} {
		remember(before, &s) // as Live does
		told = append(append(told, Changes(before, s)...), "--")
		before = &s
	}
	golden(t, "changes", strings.Join(told, "\n")+"\n")
}

// The bar does not shrink when a lane is done before the others.
func TestLanesThatAreDoneCountOn(t *testing.T) {
	t.Parallel()
	before, now := running(), running()
	now.Progress = now.Progress[1:]
	remember(&before, &now)
	require.Equal(t, before.lanes("fill").scanned, now.lanes("fill").scanned)
	require.InDelta(t, 39_000, now.lanes("fill").perSecond, 0.1, "but they change no rows any more")

	over := running()
	over.Progress = nil
	remember(&now, &over)
	require.Empty(t, over.Progress, "a step without lanes is over")

	other := running()
	other.Progress = []signals.Progress{{Step: "other", Lane: 1}}
	remember(&now, &other)
	require.Len(t, other.Progress, 1)
}
