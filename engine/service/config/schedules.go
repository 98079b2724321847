package config

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/service/schedule"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// CodeSchedule is the code of a schedule that does not go with the rest of the configuration.
const CodeSchedule = "service.schedule"

// Schedule is a document of kind Schedule.
type Schedule struct {
	schedule.Spec
	document *document.Settings
}

// At is the place of what a path under spec leads to.
func (s *Schedule) At(path ...string) diag.Position { return s.document.At(path...) }

// schedules reads the documents that spec.schedules names: files, and all that is YAML in folders.
func (c *checker) schedules(w Spec) (all []Schedule) {
	names := map[[2]string]string{} // where a customer's schedule of a name stands
	for i, path := range w.Schedules {
		at := []string{"schedules", strconv.Itoa(i)}
		if path = c.path(path); path == "" {
			continue
		}
		for _, file := range c.documents(path, at) {
			if one := c.schedule(w, file, names); one != nil {
				all = append(all, *one)
			}
		}
	}
	return all
}

// documents are the files that a path stands for.
func (c *checker) documents(path string, at []string) []string {
	about, err := os.Stat(path)
	if err != nil {
		c.wrong(CodeFolder, at, "there are no schedules: %v", err)
		return nil
	}
	if !about.IsDir() {
		return []string{path}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		c.wrong(CodeFolder, at, "the folder cannot be read: %v", err)
	}
	var files []string
	for _, entry := range entries {
		if name := entry.Name(); !entry.IsDir() && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)) && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(path, name))
		}
	}
	return files
}

// ReadSchedule reads a document of kind Schedule, and says what is wrong with it by itself. It is nil where nothing can be
// made of the document.
func ReadSchedule(loader *document.Loader, file string) (*Schedule, diag.List) {
	doc, diags := loader.Settings(file, schedule.Kind, schedule.DocumentSpec)
	if doc == nil {
		return nil, diags
	}
	spec, err := schedule.Decode(schedule.DocumentSpec, doc.JSON)
	if err != nil {
		diags.Add(diag.At(doc.At(), document.CodeNotAllowed, "%v", err))
		return nil, diags
	}
	spec.Name = doc.Metadata.Name
	one := &Schedule{Spec: spec, document: doc}
	for _, p := range spec.Check() {
		diags.Add(one.Problem(p))
	}
	return one, diags
}

// JSON is spec of the document, as it is written.
func (s *Schedule) JSON() []byte { return s.document.JSON }

func (c *checker) schedule(w Spec, file string, names map[[2]string]string) *Schedule {
	one, diags := ReadSchedule(c.loader, file)
	c.diags = append(c.diags, diags...)
	if one == nil || one.Customer == "" {
		return one
	}
	doc, spec := one.document, one.Spec
	i := slices.IndexFunc(w.Customers, func(known CustomerSpec) bool { return known.ID == spec.Customer })
	switch {
	case i < 0:
		var ids []string
		for _, known := range w.Customers {
			ids = append(ids, known.ID)
		}
		c.diags.Add(diag.At(doc.At("customer"), CodeSchedule, "no customer %q is declared", diag.Printable(spec.Customer)).WithSuggestion(spec.Customer, ids))
	case w.Customers[i].Bucket == "":
		c.diags.Add(diag.At(doc.At("customer"), CodeSchedule, "the customer %q has no bucket, so that no jobs are made for it", diag.Printable(spec.Customer)).
			WithHint("give it one, where it is declared"))
	}
	if first, is := names[[2]string{spec.Customer, spec.Name}]; is {
		c.diags.Add(diag.At(doc.Metadata.At, CodeSchedule, "the customer has a schedule %q already, in %s", diag.Printable(spec.Name), filepath.Base(first)).
			WithHint("give one of the two another name"))
	}
	names[[2]string{spec.Customer, spec.Name}] = file
	return one
}

// Problem is something that is wrong with a schedule, at its place.
func (s *Schedule) Problem(p config.Problem) diag.Diagnostic {
	message := p.Message
	if len(p.Path) > 0 {
		message = strings.Join(p.Path, ".") + ": " + message
	}
	d := diag.At(s.At(p.Path...), p.Code, "%s", diag.Printable(message))
	if p.Hint != "" {
		d = d.WithHint("%s", p.Hint)
	}
	d.Pointer = "/spec/" + strings.Join(p.Path, "/")
	return d
}

// changedSchedules are the schedules that differ, whatever the files are called that they stand in.
func changedSchedules(from, to *Settings, add func(string)) {
	of := func(s *Settings) map[string]schedule.Spec {
		all := map[string]schedule.Spec{}
		for _, one := range s.Schedules {
			all["schedules."+one.Customer+"."+one.Name] = one.Spec
		}
		return all
	}
	before, after := of(from), of(to)
	for _, path := range slices.Sorted(maps.Keys(before)) {
		is, remains := after[path]
		switch {
		case !remains:
			add(path + " (removed)")
		case !reflect.DeepEqual(before[path], is):
			add(path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if _, known := before[path]; !known {
			add(path + " (new)")
		}
	}
}
