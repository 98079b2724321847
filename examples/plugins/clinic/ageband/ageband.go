// Package ageband is a filter that replaces birthdates by age bands such as 40-49. It owns what a band is, and never
// writes a birthdate anywhere.
package ageband

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

type settings struct {
	Column string `config:"column,required" doc:"A column of dates; it becomes text."`
	AsAt   string `config:"as_at,required" doc:"The day on which the age counts, YYYY-MM-DD."`
	Width  int    `config:"width" default:"10" min:"1" max:"100" doc:"Years in a band."`
	Top    int    `config:"top" default:"90" min:"1" max:"150" doc:"Whoever is as old as that or older is in one band."`
}

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:    "age-band",
		Summary: "Replaces birthdates by age bands.",
		Doc: `An age is in full years on the day as_at; who was born on 29 February has a birthday on 1 March in other
years. A birthdate after as_at has no age: it becomes NULL and is counted in the receipt as age_band_after_as_at.`,
		Concurrent: true,
		KeepsRows:  true,
	}, func(s settings, env sdk.Env) (sdk.Filter, error) {
		asAt, err := time.Parse(time.DateOnly, s.AsAt)
		if err != nil {
			return nil, fault.New("age_band.as_at", fault.Usage, "as_at must be a day such as 2024-06-30, not %q", s.AsAt)
		}
		return &filter{settings: s, env: env, asAt: asAt}, nil
	})
}

type filter struct {
	settings settings
	env      sdk.Env
	asAt     time.Time
	column   int
	out      *arrow.Schema
}

func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	found := in.FieldIndices(f.settings.Column)
	if len(found) != 1 {
		return nil, fault.New("age_band.column", fault.Usage, "there must be one column %q; there are %d", f.settings.Column, len(found))
	}
	f.column = found[0]
	fields := slices.Clone(in.Fields())
	if t := fields[f.column].Type; t.ID() != arrow.DATE32 {
		return nil, fault.New("age_band.type", fault.Usage, "column %q must be a date; it is %s", f.settings.Column, t)
	}
	// A birthdate may be after as_at, so that the band is nullable even if the date is not.
	fields[f.column] = arrow.Field{Name: fields[f.column].Name, Type: arrow.BinaryTypes.String, Nullable: true}
	metadata := in.Metadata()
	f.out = arrow.NewSchema(fields, &metadata)
	return f.out, nil
}

func (f *filter) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	dates := in.Column(f.column).(*array.Date32)
	b := array.NewStringBuilder(f.env.Memory)
	defer b.Release()
	after := int64(0)
	for i := range dates.Len() {
		switch {
		case dates.IsNull(i):
			b.AppendNull()
		case dates.Value(i).ToTime().After(f.asAt):
			b.AppendNull()
			after++
		default:
			b.Append(f.band(dates.Value(i).ToTime()))
		}
	}
	if after > 0 {
		f.env.Count("age_band_after_as_at", after)
	}
	bands := b.NewArray()
	defer bands.Release() // the record keeps its own reference
	columns := slices.Clone(in.Columns())
	columns[f.column] = bands
	return array.NewRecord(f.out, columns, in.NumRows()), nil
}

func (f *filter) band(born time.Time) string {
	age := f.asAt.Year() - born.Year()
	if f.asAt.Month() < born.Month() || f.asAt.Month() == born.Month() && f.asAt.Day() < born.Day() {
		age--
	}
	if age >= f.settings.Top {
		return strconv.Itoa(f.settings.Top) + "+"
	}
	from := age / f.settings.Width * f.settings.Width
	to := min(from+f.settings.Width, f.settings.Top) - 1
	if from == to {
		return strconv.Itoa(from)
	}
	return strconv.Itoa(from) + "-" + strconv.Itoa(to)
}
