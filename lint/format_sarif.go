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
		Text string `json:"text"`
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
		URI string `json:"uri"`
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
			ID: rule.ID, ShortDescription: sarifText{rule.Title}, FullDescription: sarifText{rule.Why}, Help: sarifText{help},
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

func (f Finding) sarif(rule int) sarifResult {
	text := f.Message
	if f.Safe != "" {
		text += "\n\n" + f.Safe
	}
	var at sarifLocation
	at.PhysicalLocation.ArtifactLocation = sarifArtifact{(&url.URL{Path: filepath.ToSlash(f.File)}).String()}
	at.PhysicalLocation.Region = sarifRegion{f.Line, f.Column}
	result := sarifResult{RuleID: f.Rule, RuleIndex: rule, Level: f.Severity, Message: sarifText{text}, Locations: []sarifLocation{at}, Suppressions: []sarifSuppression{}}
	if f.Ignored != "" {
		result.Suppressions = append(result.Suppressions, sarifSuppression{"inSource", f.Ignored})
	}
	return result
}
