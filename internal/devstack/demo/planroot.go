package demo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/contraflow/contraflow/plan"
)

// exampleURL is where the example's plan expects the shop.
const exampleURL = "http://127.0.0.1:8080"

// WritePlans makes a plan root: the example's plan, pointed at the shop that runs and then edited, with its SQL files beside it.
func WritePlans(root, example, shopURL string, edit func(*plan.Plan)) (*plan.Plan, error) {
	source := filepath.Join(example, "plan.yaml")
	text, err := os.ReadFile(source)
	if err != nil {
		return nil, fmt.Errorf("read the example's plan: %w", err)
	}
	if !strings.Contains(string(text), exampleURL) {
		return nil, fmt.Errorf("%s does not mention the shop's address %s: its health checks would look elsewhere", source, exampleURL)
	}
	p, err := plan.Decode(source, []byte(strings.ReplaceAll(string(text), exampleURL, shopURL)))
	if err != nil {
		return nil, err
	}
	if edit != nil {
		edit(p)
	}
	document, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write plan %s: %w", p.Name, err)
	}
	file := filepath.Join(root, p.Name, "plan.json")
	if p, err = plan.Decode(file, document); err != nil { // an edit may have broken it
		return nil, err
	}
	folder := filepath.Dir(file)
	if err := os.CopyFS(filepath.Join(folder, p.Migrations), os.DirFS(filepath.Join(example, p.Migrations))); err != nil {
		return nil, fmt.Errorf("copy the SQL files: %w", err)
	}
	if err := os.WriteFile(file, document, 0o600); err != nil {
		return nil, fmt.Errorf("write plan %s: %w", p.Name, err)
	}
	return p, nil
}
