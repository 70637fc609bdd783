// Package age tells people how long ago something was.
package age

import (
	"fmt"
	"time"
)

// Text is a duration in the unit that people would choose: "12 s", "90 min", "40 h", "7 days". Below zero it is "0 s": clocks
// of two machines may differ.
func Text(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
