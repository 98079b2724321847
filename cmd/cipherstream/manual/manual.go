// Package manual owns the commands that show the documentation which is in the program: its pages as text or, on
// loopback, as HTML, the table of faults, and what a search finds. It never writes a page, and reads no file.
package manual

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/docs"
	"github.com/cipherstream/cipherstream/engine/diag"
)

// app is the execution of the command line that the commands belong to.
type app struct{ *session.Session }

// Commands are those of this package.
func Commands(s *session.Session) []*cobra.Command {
	a := &app{s}
	return session.Under(session.Writing, a.docsCommand())
}

func (a *app) docsCommand() *cobra.Command {
	var address string
	c := &cobra.Command{
		Use:   "docs [TOPIC]",
		Short: "Show the documentation",
		Long: `Show the documentation that is in the program. Without a topic it lists them; with one it
prints the page, as Markdown and without colours, for a pager. A stage is found by its
name, or by its kind and name where several kinds have it: source-csv, encoder-csv.

With --http the pages are served as HTML on loopback until the command is interrupted.`,
		Example: `  cipherstream docs
  cipherstream docs where | less
  cipherstream docs fault mysql.tls
  cipherstream docs search zero date
  cipherstream docs --http 127.0.0.1:8000`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return terminal.UsageFault("%s takes one topic, but got %q", c.CommandPath(), args).
					WithHint("cipherstream docs search looks for words")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			switch {
			case c.Flags().Changed("http"):
				if len(args) > 0 {
					return terminal.UsageFault("--http serves all topics, and %q is one", args[0])
				}
				return a.serve(c.Context(), address)
			case len(args) == 0:
				return a.list()
			}
			return a.page(args[0])
		}),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var topics []string
			for _, p := range docs.Pages() {
				topics = append(topics, path.Base(p.Topic)+"\t"+p.Title)
			}
			return topics, cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().StringVar(&address, "http", "", "serve the pages as HTML on this loopback `ADDRESS`; port 0 takes a free one")
	c.AddCommand(a.faultCommand(), a.searchCommand())
	return c
}

// entry is a page as the list has it.
type entry struct {
	Topic   string `json:"topic"`
	Title   string `json:"title"`
	Summary string `json:"summary"`
}

func (a *app) list() error {
	pages := docs.Pages()
	return a.Print(func(w io.Writer) error {
		if a.JSON {
			list := make([]entry, len(pages))
			for i, p := range pages {
				list[i] = entry{p.Topic, p.Title, p.Summary}
			}
			return terminal.WriteJSON(w, map[string][]entry{"topics": list})
		}
		folder := ""
		var rows [][]string
		flush := func() error {
			err := terminal.WriteTable(w, "  ", rows)
			rows = nil
			return err
		}
		for _, p := range pages {
			if dir := path.Dir(p.Topic); dir != "." && dir != folder {
				if err := flush(); err != nil {
					return err
				}
				folder = dir
				fmt.Fprintf(w, "\n%s\n", dir)
			}
			rows = append(rows, []string{path.Base(p.Topic), p.Summary})
		}
		return flush()
	})
}

func (a *app) page(topic string) error {
	found := docs.Meant(strings.TrimSuffix(topic, ".md"))
	switch len(found) {
	case 0:
		if f, ok := docs.FindFault(topic); ok {
			return a.fault(f)
		}
		var topics []string
		for _, p := range docs.Pages() {
			topics = append(topics, path.Base(p.Topic))
		}
		return unknown(fmt.Sprintf("there is no page %q", diag.Printable(topic)), topic, topics,
			"cipherstream docs lists the topics, and docs search looks for words")
	case 1:
	default:
		var topics []string
		for _, p := range found {
			topics = append(topics, path.Base(p.Topic))
		}
		return terminal.UsageFault("%q is the name of several pages", topic).
			WithHint("name one: %s", strings.Join(topics, ", "))
	}
	return a.Print(func(w io.Writer) error {
		p := found[0]
		if a.JSON {
			return terminal.WriteJSON(w, struct {
				entry
				Text string `json:"text"`
			}{entry{p.Topic, p.Title, p.Summary}, p.Text})
		}
		_, err := io.WriteString(w, p.Text)
		return err
	})
}

// unknown is the error of a name that is not known, with those that are near.
func unknown(message, name string, candidates []string, otherwise string) error {
	f := terminal.UsageFault("%s", message)
	if near := diag.Nearest(name, candidates); len(near) > 0 {
		return f.WithHint("did you mean %s?", strings.Join(near, ", "))
	}
	return f.WithHint("%s", otherwise)
}

func (a *app) faultCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "fault CODE",
		Short:   "Say what the code of a fault means, and what to do",
		Long:    `Say what the code of a fault means, and what to do. Codes in capitals are those of the HTTP API.`,
		Example: "  cipherstream docs fault mysql.zero_date\n  cipherstream docs fault DATABASE_BUSY",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return terminal.UsageFault("%s takes one code", c.CommandPath()).
					WithHint("cipherstream docs faults has all of them")
			}
			return nil
		},
		RunE: a.Action(func(_ *cobra.Command, args []string) error {
			f, ok := docs.FindFault(args[0])
			if !ok {
				var codes []string
				for _, f := range docs.Faults() {
					codes = append(codes, f.Code)
				}
				return unknown(fmt.Sprintf("there is no fault %q", diag.Printable(args[0])), args[0], codes,
					"cipherstream docs faults has all of them")
			}
			return a.fault(f)
		}),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var codes []string
			for _, f := range docs.Faults() {
				codes = append(codes, f.Code+"\t"+docs.Plain(f.Meaning))
			}
			return codes, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func (a *app) fault(f docs.Fault) error {
	return a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, f)
		}
		_, err := fmt.Fprintf(w, "%s  (%s)\n\n  %s\n  What to do: %s\n",
			f.Code, f.Heading, docs.Plain(f.Meaning), docs.Plain(f.Remedy))
		return err
	})
}

func (a *app) searchCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "search WORD…",
		Short:   "Find the lines of the documentation that hold all the words",
		Long:    `Find the lines of the documentation that hold all the words, in any order, without regard to capitals.`,
		Example: "  cipherstream docs search certificate pin",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return terminal.UsageFault("%s takes the words to look for", c.CommandPath())
			}
			return nil
		},
		RunE: a.Action(func(_ *cobra.Command, args []string) error {
			hits := docs.Search(args...)
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					return terminal.WriteJSON(w, map[string][]docs.Hit{"hits": append([]docs.Hit{}, hits...)})
				}
				if len(hits) == 0 {
					_, err := fmt.Fprintln(w, "Nothing is found.")
					return err
				}
				topic := ""
				for _, h := range hits {
					if h.Topic != topic {
						topic = h.Topic
						fmt.Fprintf(w, "%s\n", topic)
					}
					if _, err := fmt.Fprintf(w, "  %d: %s\n", h.Line, docs.Plain(h.Text)); err != nil {
						return err
					}
				}
				return nil
			})
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}

// serve answers requests until ctx ends.
func (a *app) serve(ctx context.Context, address string) error {
	site, err := newSite()
	if err != nil {
		return err
	}
	return serve(ctx, address, site, func(url string) error {
		return a.Print(func(w io.Writer) error {
			if a.JSON {
				return terminal.WriteJSON(w, map[string]string{"listening": url})
			}
			_, err := fmt.Fprintf(w, "The documentation is at %s until interrupted.\n", url)
			return err
		})
	})
}
