package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
)

// figuresFormat names the form of the files that -json writes.
const figuresFormat = "cipherstream-bench/1"

// figures are what one invocation has measured, for -compare: the same form whatever was measured.
type figures struct {
	Format   string   `json:"format"`
	Measured string   `json:"measured"` // run, peers, start or service
	Rows     int64    `json:"rows"`
	Rounds   int      `json:"rounds"`
	Figures  []figure `json:"figures"`
}

// figure is an aim or a ratio. Names are those of the tables; two files are compared by them.
type figure struct {
	Name string `json:"name"`
	// Value is the median of the rounds, or what the aim is held against; Lowest and Highest are of the rounds, and
	// equal to it where it is of all of them.
	Value   float64 `json:"value"`
	Lowest  float64 `json:"lowest"`
	Highest float64 `json:"highest"`
	// Aim is what it should be at most, or with AtLeast at least; 0 of a ratio that has no aim.
	Aim     float64 `json:"aim,omitempty"`
	AtLeast bool    `json:"at_least,omitempty"`
}

// add keeps a figure of one value for each round, or of one for all of them, and its aim.
func (f *figures) add(name string, rounds []float64, aim float64) {
	if len(rounds) > 0 && median(rounds) > 0 { // 0 is what this system cannot tell
		f.Figures = append(f.Figures, figure{Name: name, Value: median(rounds), Lowest: slices.Min(rounds), Highest: slices.Max(rounds), Aim: aim})
	}
}

// addAtLeast keeps a figure that should be large.
func (f *figures) addAtLeast(name string, value, aim float64) {
	f.Figures = append(f.Figures, figure{Name: name, Value: value, Lowest: value, Highest: value, Aim: aim, AtLeast: true})
}

// write writes the file of -json.
func (f *figures) write(file string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// readFigures reads such a file.
func readFigures(file string) (f figures, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("%s is not what -json writes: %w", file, err)
	}
	if f.Format != figuresFormat {
		return f, fmt.Errorf("%s has the format %q, and %q is read: measure again", file, f.Format, figuresFormat)
	}
	for _, one := range f.Figures {
		if !(one.Value > 0) || math.IsInf(one.Value, 0) || one.Lowest > one.Value || one.Highest < one.Value {
			return f, fmt.Errorf("%s: %q is %v, of rounds between %v and %v", file, one.Name, one.Value, one.Lowest, one.Highest)
		}
	}
	return f, nil
}
