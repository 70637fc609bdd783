package lint

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// The types are the part of SARIF 2.1.0 that code scanning reads:
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID                   string        `json:"id"`
		ShortDescription     sarifText     `json:"shortDescription"`
		FullDescription      sarifText     `json:"fullDescription"`
		Help                 sarifText     `json:"help"`
		DefaultConfiguration sarifSeverity `json:"defaultConfiguration"`
	}
	sarifSeverity struct {
		Level Severity `json:"level"` // SARIF calls them as we do
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     Severity        `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
		// Suppressions are empty for a finding that counts: absent would mean that nobody knows.
		Suppressions []sarifSuppression `json:"suppressions"`
	}
	sarifLocation struct {
		PhysicalLocation struct {
			ArtifactLocation sarifArtifact `json:"artifactLocation"`
			Region           sarifRegion   `json:"region"`
		} `json:"physicalLocation"`
	}
	sarifArtifact struct {
		URI       string `json:"uri"`
		URIBaseID string `json:"uriBaseId,omitempty"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

func (r Report) sarif() sarifLog {
	driver := sarifDriver{Name: "contraflow lint", InformationURI: "https://github.com/contraflow/contraflow", Rules: []sarifRule{}}
	for _, rule := range Rules() {
		help := rule.Why
		if len(rule.Sources) > 0 {
			help += "\n\nSee also: " + strings.Join(rule.Sources, ", ")
		}
		driver.Rules = append(driver.Rules, sarifRule{
			ID: rule.ID, ShortDescription: sarifText{Text: rule.Title}, FullDescription: sarifText{Text: rule.Why}, Help: sarifText{Text: help},
			DefaultConfiguration: sarifSeverity{rule.Severity},
		})
	}
	run := sarifRun{Tool: sarifTool{driver}, ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	all := slices.Concat(r.Findings, r.Ignored)
	slices.SortStableFunc(all, byPlace)
	for _, f := range all {
		run.Results = append(run.Results, f.sarif(slices.IndexFunc(driver.Rules, func(rule sarifRule) bool { return rule.ID == f.Rule })))
	}
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}

// artifact names a file as the standard wants it: below the root of the sources, or with its scheme.
func artifact(file string) sarifArtifact {
	at := &url.URL{Path: filepath.ToSlash(file)}
	if filepath.IsAbs(file) {
		at.Scheme = "file"
		return sarifArtifact{URI: at.String()}
	}
	return sarifArtifact{URI: at.String(), URIBaseID: sourceRoot}
}

// sourceRoot is what code scanning calls the top of the checkout.
const sourceRoot = "%SRCROOT%"

func (f Finding) sarif(rule int) sarifResult {
	message := sarifText{Text: f.Message}
	if f.Safe != "" { // in a fence, or viewers would reflow it
		message = sarifText{f.Message + "\n\n" + f.Safe, f.Message + "\n\n```sql\n" + strings.TrimSuffix(f.Safe, "\n") + "\n```\n"}
	}
	var at sarifLocation
	at.PhysicalLocation.ArtifactLocation = artifact(f.File)
	at.PhysicalLocation.Region = sarifRegion{f.Line, f.Column}
	result := sarifResult{RuleID: f.Rule, RuleIndex: rule, Level: f.Severity, Message: message, Locations: []sarifLocation{at}, Suppressions: []sarifSuppression{}}
	if f.Ignored != "" {
		result.Suppressions = append(result.Suppressions, sarifSuppression{"inSource", f.Ignored})
	}
	return result
}
