package plan

import (
	"net/url"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/config"
)

// TestPasswordInURL: a secret within a URL is the plain password, encoded exactly once; what
// reads the URL finds it again, whatever is in it.
func TestPasswordInURL(t *testing.T) {
	for password, encoded := range map[string]string{
		"plain":        "plain",
		"p@ss/wo rd":   "p%40ss%2Fwo%20rd",
		"p%40ss":       "p%2540ss",
		"100%":         "100%25",
		"a:b?c#d&e=f+": "a%3Ab%3Fc%23d&e=f+",
		"é\n%00":       "%C3%A9%0A%2500",
	} {
		in := codeInput(t, `url: "mysql://u:${secret.db}@db"`, "")
		in.Secrets = lookup(map[string]string{"db": password})
		got := build(t, in).Stages[0].Config["url"].(config.Secret).Reveal()
		if want := "mysql://u:" + encoded + "@db"; got != want {
			t.Errorf("%q became %s, want %s", password, got, want)
		}
		u, err := url.Parse(got)
		if err != nil {
			t.Errorf("%q: %v", password, err)
			continue
		}
		if read, _ := u.User.Password(); read != password {
			t.Errorf("%q is read as %q", password, read)
		}
	}
}
