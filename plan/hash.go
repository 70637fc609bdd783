package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sort"
)

// FileSum names an SQL file of the plan and its content's SHA-256 in hexadecimal digits.
type FileSum struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Hash identifies what would be done: SHA-256 over the canonical JSON of the plan (sorted keys, no spaces, no defaults
// filled in) and the sums of all SQL files up to its highest version, both directions. Layout and comments of the
// document do not count; any change of meaning or of SQL does.
func (p *Plan) Hash(files []FileSum) (string, error) {
	sorted := append([]FileSum(nil), files...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Name < sorted[j].Name })
	// encoding/json writes struct fields in order of declaration and map keys sorted: canonical for our types.
	body, err := json.Marshal(struct {
		Plan  *Plan     `json:"plan"`
		Files []FileSum `json:"files"`
	}{p, sorted})
	if err != nil {
		return "", fmt.Errorf("hash plan %s: %w", p.Name, err)
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

// ShortHash is what people read: the first twelve digits.
func ShortHash(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}
