package plugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/scaffold"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// envSDK names the variable with the folder of a checkout of the SDK.
const envSDK = "CIPHERSTREAM_SDK"

type pluginNewOptions struct {
	kind, variant, language, dir, module, sdk string
}

func (a *app) pluginNewCommand() *cobra.Command {
	var o pluginNewOptions
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Begin a plugin of one's own",
		Long: `Begin a plugin of one's own: write a Go module with one stage that does something
small, its tests, a Makefile, a README, a workflow for CI and a pipeline that uses it. It
builds and passes its tests as it is. With --language python or javascript it is a program
in that language, which "make build" puts into a bundle with the packages that it needs.

  filter      writes a text column in capitals
    --variant end     counts the rows of every value of a column, and gives them at the end
  source      reads the lines of a text file
  encoder     writes tab-separated values
  compressor  compresses with zlib
  encryptor   seals a stream in chunks
  sink        leaves the object in a folder
    --variant table   takes rows, and leaves them in a folder as SQL statements

The module goes into the folder NAME, or the one that --dir names, which must be empty or
not there yet. Nothing is overwritten, and a failure leaves nothing behind.

The SDK is not published yet, so go.mod (in other languages, the Makefile) refers to a checkout of it: the one that --sdk
names, or ` + envSDK + `, or the one that this program was built from if it is still there.`,
		Example: "  cipherstream plugin new upper --kind filter\n  cipherstream plugin new warehouse --kind sink --variant table\n  cipherstream plugin new upper --kind filter --language python\n  cipherstream plugin new upper --kind filter --language javascript\n  cipherstream plugin new hl7 --kind source --module example.org/clinic/hl7 --sdk ../cipherstream",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return terminal.UsageFault("%s takes one name, but got %d arguments", c.CommandPath(), len(args)).WithHint("give the plugin a name: lower-case letters, digits and dashes")
			}
			return nil
		},
		RunE:              a.Action(func(c *cobra.Command, args []string) error { return a.pluginNew(c.Context(), args[0], o) }),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().StringVar(&o.kind, "kind", "", "`KIND` of the stage: "+kindNames())
	c.Flags().StringVar(&o.variant, "variant", "", "another `EXAMPLE` of the kind than the usual one: "+strings.Join(variantNames(), ", "))
	c.Flags().StringVar(&o.language, "language", scaffold.Go, "`LANGUAGE` of the code: "+strings.Join(scaffold.Languages, ", "))
	c.Flags().StringVar(&o.dir, "dir", "", "write into `FOLDER` instead of ./NAME")
	c.Flags().StringVar(&o.module, "module", "", "`PATH` of the module (default example.com/cipherstream-plugin-NAME)")
	c.Flags().StringVar(&o.sdk, "sdk", "", "`FOLDER` with a checkout of the SDK (default $"+envSDK+")")
	session.Complete(c, "kind", cobra.FixedCompletions(strings.Split(kindNames(), ", "), cobra.ShellCompDirectiveNoFileComp))
	session.Complete(c, "language", cobra.FixedCompletions(scaffold.Languages, cobra.ShellCompDirectiveNoFileComp))
	session.Complete(c, "variant", cobra.FixedCompletions(variantNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagDirname("dir") // the flags exist
	_ = c.MarkFlagDirname("sdk")
	return c
}

func kindNames() string {
	var names []string
	for _, k := range stage.Kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func variantNames() (names []string) {
	for _, x := range scaffold.Examples {
		if x.Variant != "" {
			names = append(names, x.Variant)
		}
	}
	return names
}

// pluginNew writes the module of a new plugin.
func (a *app) pluginNew(ctx context.Context, name string, o pluginNewOptions) error {
	if o.kind == "" {
		return terminal.UsageFault("the kind of the stage is not given").WithHint("give it with --kind: %s", kindNames())
	}
	if name == bundle.Name {
		return terminal.UsageFault("%q is the plugin of this program", name).WithHint("give yours another name")
	}
	m := scaffold.Module{Name: name, Kind: stage.Kind(o.kind), Variant: o.variant, Language: o.language, Path: o.module, SDKVersion: session.Version(), SDK: o.sdk}
	if m.SDK == "" {
		m.SDK = os.Getenv(envSDK)
	}
	if m.SDK == "" {
		m.SDK = ownCheckout()
	}
	dir := o.dir
	if dir == "" {
		dir = name
	}
	files, err := scaffold.Write(ctx, m, dir)
	if err != nil {
		return err
	}
	return a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, map[string]any{"folder": dir, "files": files, "sdk": m.SDK})
		}
		_, err := fmt.Fprintf(w, "wrote the %s %s, %s, into %s\n%s", o.kind, name, terminal.Counted(len(files), "file"), diag.Printable(dir), nextSteps(dir, m.SDK, o.language))
		return err
	})
}

// nextSteps says what to do with a module in dir whose SDK is in a checkout, or nowhere yet.
func nextSteps(dir, sdk, language string) string {
	if sdk == "" {
		where := "README.md says how to give one in go.mod"
		if language != scaffold.Go {
			where = "give one to make, as SDK=folder"
		}
		return "no checkout of the SDK is known: " + where + "\nnext: cd " + terminal.ShellQuoted(diag.Printable(dir)) + "\n"
	}
	return "with the SDK in " + diag.Printable(sdk) + "\nnext: cd " + terminal.ShellQuoted(diag.Printable(dir)) + " && make test\n"
}

// ownCheckout is the checkout that this program was built from, or nothing: a release does not know it.
func ownCheckout() string {
	_, source, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(source) {
		return ""
	}
	dir := filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(source))))
	if !scaffold.IsCheckout(dir) {
		return ""
	}
	return dir
}
