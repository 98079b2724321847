package run_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// testBundle is the stages of package runnertest and two that tell their secrets.
func testBundle(name string) stage.Bundle {
	b := runnertest.Bundle(name)
	b.Stages = append(b.Stages,
		stage.DefineFilter(stage.About{Name: "leak", Summary: "Tells its secret.", KeepsRows: true}, newLeak),
		stage.DefineFilter(stage.About{Name: "once", Summary: "Kills its process when it is made, the first time.", KeepsRows: true}, newOnce),
		stage.DefineSink(stage.About{Name: "link", Summary: "Makes a link of its secrets."},
			func(s linkSettings, _ stage.Env) (stage.Sink, error) { return &linkSink{s}, nil }),
		stage.DefineSink(stage.About{Name: "mark", Summary: "Leaves a mark."}, newMark))
	return b
}

type leakSettings struct {
	Token config.Secret `config:"token"`
	How   string        `config:"how"`
}

type leak struct {
	leakSettings
	env stage.Env
}

// told is how a stage may tell its secret.
func (s leakSettings) told() error {
	secret := s.Token.Reveal()
	f := fault.New("acme.token", fault.Source, "bad token %s (%s)", secret, base64.StdEncoding.EncodeToString([]byte("user:"+secret))).
		WithHint("do not use %s", secret).WithDetail("token", secret).WithDetail(secret, "x")
	return fmt.Errorf("wrapped %s: %w", secret, f)
}

func newLeak(s leakSettings, env stage.Env) (stage.Filter, error) {
	if s.How == "make" {
		return nil, s.told()
	}
	return &leak{s, env}, nil
}

func (l *leak) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	if l.How == "bind" {
		return nil, l.told()
	}
	return in, nil
}

func (l *leak) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	secret := l.Token.Reveal()
	switch l.How {
	case "apply":
		return nil, l.told()
	case "uncoded":
		return nil, errors.New("bad token " + secret)
	case "panic":
		panic("bad token " + secret)
	case "crash":
		go panic("bad token " + secret)
		select {}
	case "count":
		l.env.Count("bad "+secret, 1)
		l.env.Count("pin", 87654321)
	case "log":
		l.env.Log.Info("bad token "+secret, secret, "x", "token", secret)
	}
	in.Retain()
	return in, nil
}

type linkSettings struct {
	Who config.Secret `config:"who" kind:"identity"`
	Key config.Secret `config:"key"`
}

type linkSink struct{ linkSettings }

func (*linkSink) Open(context.Context, stage.Object) error { return nil }
func (*linkSink) Write(context.Context, []byte) error      { return nil }
func (*linkSink) Abort(context.Context) error              { return nil }
func (l *linkSink) Commit(context.Context) (stage.Receipt, error) {
	return stage.Receipt{Location: "at " + l.Who.Reveal() + l.Key.Reveal(), LinkExpires: time.Unix(1<<40, 0),
		Link: "https://x/?id=" + l.Who.Reveal() + "&key=" + l.Key.Reveal()}, nil
}

// TestSecretsAreNotTold: whatever a stage does with its secret, in the host's process or in
// its own, no fault, event or receipt has it.
func TestSecretsAreNotTold(t *testing.T) {
	const secret = "s3cret-of-the-practice"
	for _, isolation := range []plan.Isolation{plan.IsolationNone, plan.IsolationStage} {
		for _, how := range []string{"make", "bind", "apply", "uncoded", "panic", "crash", "count", "log"} {
			if how == "crash" && isolation == plan.IsolationNone {
				continue // it ends the host as well, which says nothing any more
			}
			t.Run(string(isolation)+" "+how, func(t *testing.T) {
				s := newSetup(t, host.Config{})
				p := s.planOf(isolation, settings{"rows": 10}, "leak")
				if isolation == plan.IsolationNone {
					p.Groups = []plan.Group{{Plugin: pluginName, InHost: true, Stages: []int{0, 1, 2, 3}}}
				}
				p.Stages[1].Config = settings{"token": config.NewSecret(secret), "how": how}
				p.Stages[3].Config["path"] = filepath.Join(s.dir, "out")
				if how == "count" {
					p.Stages[0].Config["rows"] = 10
					p.Stages[1].Config["token"] = config.NewSecret("87654321")
				}
				var all strings.Builder
				receipt, f := s.execute(t.Context(), p, func(e run.Event) { fmt.Fprintf(&all, "%+v\n", e) })
				if failing := how != "count" && how != "log"; failing == (f == nil) {
					t.Fatalf("receipt %v, fault %v", receipt, f)
				}
				text, _ := json.Marshal(receipt)
				all.Write(text)
				if f != nil {
					fmt.Fprintf(&all, "%+v", *f)
					for err := error(f); err != nil; err = errors.Unwrap(err) {
						fmt.Fprintln(&all, err)
					}
				}
				io.WriteString(&all, s.log.String())
				for _, told := range []string{secret, "87654321", base64.StdEncoding.EncodeToString([]byte("user:" + secret))[8:30]} {
					if strings.Contains(all.String(), told) {
						t.Errorf("%s is told:\n%s", told, all.String())
					}
				}
				if how != "panic" && !strings.Contains(all.String(), "[secret]") { // of a panic, only the type is told
					t.Errorf("nothing was blanked out:\n%s", all.String())
				}
			})
		}
	}
}

// A link names who has signed it, and holds no other secret.
func TestSecretsOfLinks(t *testing.T) {
	s := newSetup(t, host.Config{})
	p := s.planOf(plan.IsolationStage, settings{"rows": 10})
	sink := &p.Stages[len(p.Stages)-1]
	sink.Name, sink.Config = "link", settings{"who": config.NewSecret("AKIDEXAMPLE"), "key": config.NewSecret("the-secret-key")}
	p.Secrets = []plan.SecretUse{{Secret: "secret.who", Kind: config.SecretIdentity, Stage: sink.ID, Setting: "/who"}}
	receipt, f := s.execute(t.Context(), p, nil)
	if f != nil {
		t.Fatal(f)
	}
	if receipt.Link != "https://x/?id=AKIDEXAMPLE&key=[secret]" || receipt.Location != "at [secret][secret]" {
		t.Errorf("link %s, location %s", receipt.Link, receipt.Location)
	}
}
