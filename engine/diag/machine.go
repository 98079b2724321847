package diag

import (
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"strings"
)

// WriteJSON renders diagnostics as one JSON object: `diagnostics` (in the list's
// order), and the counts `errors` and `warnings`.
func WriteJSON(w io.Writer, list List) error {
	if list == nil {
		list = List{}
	}
	return encode(w, struct {
		Diagnostics List `json:"diagnostics"`
		Errors      int  `json:"errors"`
		Warnings    int  `json:"warnings"`
	}{list, list.count(Error), list.count(Warning)})
}

func encode(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// The parts of SARIF 2.1.0 (OASIS standard, 2020) that are written.
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
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID string `json:"id"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID           string          `json:"ruleId"`
		RuleIndex        int             `json:"ruleIndex"`
		Level            Severity        `json:"level"`
		Message          sarifText       `json:"message"`
		Locations        []sarifLocation `json:"locations,omitempty"`
		RelatedLocations []sarifLocation `json:"relatedLocations,omitempty"`
		Fixes            []sarifFix      `json:"fixes,omitempty"`
	}
	sarifLocation struct {
		ID       int            `json:"id,omitempty"`
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
		Message  *sarifText     `json:"message,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
	sarifFix struct {
		Description sarifText     `json:"description"`
		Changes     []sarifChange `json:"artifactChanges"`
	}
	sarifChange struct {
		Artifact     sarifArtifact      `json:"artifactLocation"`
		Replacements []sarifReplacement `json:"replacements"`
	}
	sarifReplacement struct {
		Deleted  sarifRegion `json:"deletedRegion"`
		Inserted sarifText   `json:"insertedContent"`
	}
)

// WriteSARIF renders diagnostics as a SARIF 2.1.0 log with one run, the form that
// code hosts show in the margin of a change. Version is the program's.
func WriteSARIF(w io.Writer, list List, version string) error {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "cipherstream", Version: version, Rules: []sarifRule{}}
	index := map[string]int{}
	for _, d := range list {
		i, ok := index[d.Code]
		if !ok {
			i = len(index)
			index[d.Code] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: d.Code})
		}
		text := d.Message
		if d.Hint != "" {
			text += " (" + d.Hint + ")"
		}
		result := sarifResult{RuleID: d.Code, RuleIndex: i, Level: d.Severity, Message: sarifText{text}}
		if d.File != "" {
			result.Locations = []sarifLocation{{Physical: physical(d.Position)}}
		} else if d.Parameter != "" {
			result.Locations = []sarifLocation{{Logical: []sarifLogical{{Name: d.Parameter, Kind: "parameter"}}}}
		}
		for n, rel := range d.Related {
			result.RelatedLocations = append(result.RelatedLocations,
				sarifLocation{ID: n + 1, Physical: physical(rel.Position), Message: &sarifText{rel.Message}})
		}
		if d.Fix != "" && d.EndColumn > d.Column {
			at := physical(d.Position)
			result.Fixes = []sarifFix{{
				Description: sarifText{d.Hint},
				Changes:     []sarifChange{{Artifact: at.Artifact, Replacements: []sarifReplacement{{*at.Region, sarifText{d.Fix}}}}},
			}}
		}
		run.Results = append(run.Results, result)
	}
	return encode(w, sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

func physical(p Position) *sarifPhysical {
	at := &sarifPhysical{Artifact: sarifArtifact{URI: uri(p.File)}}
	if p.Line > 0 {
		at.Region = &sarifRegion{StartLine: p.Line, StartColumn: p.Column, EndColumn: p.EndColumn}
	}
	return at
}

// uri turns a path into a URI reference (RFC 3986): relative paths stay
// relative, and an embedded file keeps its scheme.
func uri(file string) string {
	if name, ok := strings.CutPrefix(file, "catalogue:"); ok {
		return "catalogue:" + (&url.URL{Path: name}).EscapedPath()
	}
	path := filepath.ToSlash(file)
	if filepath.IsAbs(file) {
		return (&url.URL{Scheme: "file", Path: path}).String()
	}
	return (&url.URL{Path: path}).String()
}
