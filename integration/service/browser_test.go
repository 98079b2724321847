package service

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// browser is a page of a Chromium without a window, spoken to in the DevTools protocol over two pipes.
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	session string
	calls   int
	// trouble is what the page complained of: exceptions, and what it was not allowed to do.
	trouble []string
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	binary := needs(t, "chromium")
	dir, err := os.MkdirTemp("", "chromium") // it writes to it until after its end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience) // two pages, beside all the other tests
	args := []string{"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + dir, "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--no-proxy-server", "about:blank"}
	if os.Geteuid() == 0 {
		args = append([]string{"--no-sandbox"}, args...)
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.ExtraFiles = []*os.File{in, out} // descriptors 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+dir)
	said := &saidLines{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	b := &browser{t: t, to: to, from: bufio.NewReader(from)}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		to.Close()
		from.Close()
		if t.Failed() {
			t.Logf("chromium said:\n%s", said)
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// call calls a method and waits for its result. What the page complains of meanwhile is kept.
func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	b.calls++
	if params == nil {
		params = map[string]any{}
	}
	message := map[string]any{"id": b.calls, "method": method, "params": params}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		text, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID     int
			Method string
			Result json.RawMessage
			Error  *struct{ Message string }
			Params struct {
				Entry            struct{ Level, Source, Text, URL string }
				ExceptionDetails json.RawMessage
			}
		}
		if err := json.Unmarshal(text[:len(text)-1], &answer); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case answer.Method == "Runtime.exceptionThrown":
			b.trouble = append(b.trouble, string(answer.Params.ExceptionDetails))
		case answer.Method == "Log.entryAdded" && answer.Params.Entry.Level == "error":
			b.trouble = append(b.trouble, fmt.Sprint(answer.Params.Entry))
		case answer.ID == b.calls && answer.Error != nil:
			b.t.Fatalf("%s: %s", method, answer.Error.Message)
		case answer.ID == b.calls:
			if result != nil {
				if err := json.Unmarshal(answer.Result, result); err != nil {
					b.t.Fatal(err)
				}
			}
			return
		}
	}
}

// run evaluates the body of an async function in the page, and returns the text that it returns.
func (b *browser) run(script string) string {
	b.t.Helper()
	var out struct {
		Result           struct{ Value string }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": "(async () => {" + script + "})()", "awaitPromise": true, "returnByValue": true}, &out)
	if out.ExceptionDetails != nil {
		b.t.Fatalf("%s", out.ExceptionDetails)
	}
	return out.Result.Value
}

// tryOut does what a visitor does who tries a procedure: authorize, open it, try it out with the example, execute.
const tryOut = `
const until = async (what, find) => {
  for (let n = 0; n < 1200; n++) {
    const found = find();
    if (found) return found;
    await new Promise(r => setTimeout(r, 50));
  }
  throw new Error('no ' + what + ' in ' + document.body.innerText.slice(0, 2000));
};
const one = selector => document.querySelector(selector);
(await until('button to authorize', () => one('.auth-wrapper .authorize'))).click();
const field = await until('field for the key', () => one('.auth-container input'));
Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, KEY);
field.dispatchEvent(new Event('input', {bubbles: true}));
field.dispatchEvent(new Event('change', {bubbles: true}));
(await until('second button to authorize', () => one('.auth-btn-wrapper button[type=submit], .auth-btn-wrapper .authorize'))).click();
(await until('button to close', () => one('.auth-btn-wrapper .btn-done'))).click();
for (const tag of document.querySelectorAll('.opblock-tag-section:not(.is-open) .opblock-tag')) tag.click();
const operation = await until('operation', () => [...document.querySelectorAll('.opblock.opblock-post')]
  .find(o => o.querySelector('.opblock-summary-path')?.textContent.replace(/\u200b/g, '') === PATH));
operation.querySelector('.opblock-summary-control').click();
(await until('button to try it out', () => operation.querySelector('.try-out__btn'))).click();
(await until('button to execute', () => operation.querySelector('.execute'))).click();
const status = await until('answer', () => operation.querySelector('.live-responses-table tbody .response-col_status'));
return status.textContent.trim() + '\n' + operation.querySelector('.live-responses-table').innerText;
`

// testBrowser: the page of the document opens in a browser, which has nothing to complain of, and a procedure is tried from it.
func testBrowser(t *testing.T, s *sandbox) {
	b := openBrowser(t)
	b.call("Page.navigate", map[string]any{"url": s.URL + "/docs"}, nil)
	b.run(`while (document.readyState !== 'complete' || location.pathname !== '/docs') await new Promise(r => setTimeout(r, 50));`)
	key, _ := json.Marshal(s.Key) // a text
	for _, path := range []string{"/v1/procedures/locations", "/v1/procedures/appointments"} {
		b.call("Page.navigate", map[string]any{"url": s.URL + "/docs"}, nil)
		b.run(`await new Promise(r => setTimeout(r, 200)); while (document.readyState !== 'complete') await new Promise(r => setTimeout(r, 50));`)
		got := b.run(fmt.Sprintf("const KEY = %s, PATH = %q;", key, path) + tryOut)
		if !strings.HasPrefix(got, "200") {
			t.Errorf("%s: the page shows:\n%.2000s", path, got)
		} else {
			t.Logf("%s: %.600s", path, got)
		}
	}
	if len(b.trouble) > 0 {
		t.Errorf("the browser complains: %v", b.trouble)
	}
}
