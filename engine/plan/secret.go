package plan

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// The codes of secrets, and of variables that hold them, in places that are not for them.
const (
	CodeSecretKind   = "reference.secret_kind"
	CodeSecretInText = "reference.secret_in_text"
	CodeEnvSecret    = "reference.env_secret"
	CodeEnvDenied    = "reference.env_not_allowed"
)

// KnownSecrets are the secrets that the program itself knows how to get, and their kinds.
// The kind of any other is what Inputs.SecretKinds says, or else that of the settings that
// it goes to.
var KnownSecrets = map[string]config.SecretKind{
	"dsn":                  config.SecretConnection,
	"encryption_keys":      config.SecretKeys,
	"s3_access_key_id":     config.SecretIdentity,
	"s3_secret_access_key": config.SecretToken,
	"s3_session_token":     config.SecretIdentity,
	"link_secret":          config.SecretSigning,
}

// SecretUse is a setting that a secret goes to.
type SecretUse struct {
	// Secret is the reference, such as secret.dsn, or what stands in the file instead: text
	// with references that are no secrets, or literalSecret.
	Secret string            `json:"secret"`
	Kind   config.SecretKind `json:"kind"`
	Stage  string            `json:"stage"`
	// Setting is the place in the stage's settings, as a JSON Pointer.
	Setting string `json:"setting"`
}

// literalSecret stands for a secret that is written out in the file.
const literalSecret = "(in the file)"

// secretPlace is where a reference to a secret stands.
type secretPlace struct {
	kind config.SecretKind
	at   diag.Position
}

// secretVariable reports whether an environment variable is one that secrets are kept in,
// by what it is called.
func (p *planner) secretVariable(name string) bool {
	if slices.Contains(p.in.SecretEnv, name) {
		return true
	}
	upper := strings.ToUpper(name)
	if strings.HasPrefix(upper, "CIPHERSTREAM_") {
		return true
	}
	words := strings.Split(upper, "_")
	for i, word := range words {
		ordinary := (word == "KEY" || word == "KEYS") && i > 0 && slices.Contains(ordinaryKeys, words[i-1])
		if slices.Contains(secretWords, word) && !ordinary {
			return true
		}
	}
	// PWD alone is the current folder.
	return len(words) > 1 && slices.Contains(words, "PWD")
}

// secretWords are the words by which a variable says that it holds a secret.
var secretWords = []string{"SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "TOKEN", "TOKENS", "KEY", "KEYS", "APIKEY",
	"CREDENTIAL", "CREDENTIALS", "DSN", "AUTH"}

// ordinaryKeys are the words before KEY in names of keys that open nothing: those of rows, and
// the public half of a pair.
var ordinaryKeys = []string{"SORT", "ORDER", "GROUP", "PARTITION", "PRIMARY", "FOREIGN", "UNIQUE", "JOIN", "ROW",
	"PUBLIC"}

// variable checks that an environment variable may be read. It reports what is wrong.
func (p *planner) variable(name string, at diag.Position) bool {
	if p.secretVariable(name) {
		p.diags.Add(diag.At(at, CodeEnvSecret, "the environment variable %s holds a secret, or is called like one that does, and is not read for a setting", name).
			WithHint("give it as a secret, with --secret NAME=env:%s, and refer to it as ${secret.NAME} where a secret of its kind belongs; if it holds none, give the value by a variable of another name", name))
		return false
	}
	if !p.lint && p.in.Env != nil && !slices.Contains(p.in.EnvAllowed, name) {
		d := diag.At(at, CodeEnvDenied, "the environment variable %s may not be read", name)
		if p.in.Hint != nil {
			d.Hint = p.in.Hint("env." + name)
		}
		p.diags.Add(d)
		return false
	}
	return true
}

// passwordBefore is what stands before the password in a URL.
var passwordBefore = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://[^/?#@:]*:$`)

// secretText makes the value of a scalar that refers to secrets. It reports those that do
// not belong where they are.
func (p *planner) secretText(n *document.Node, field *config.Field, path []string, parts []part, values []any) any {
	if field == nil {
		return unknown{}
	}
	if field.Type != config.TypeSecret {
		p.diags.Add(diag.At(n.At, CodeSecretMisplaced, "a secret cannot stand here: setting %q is not a secret one, and may be shown", field.Name).
			WithHint("secrets go where the stage's settings ask for one"))
		return unknown{}
	}
	good, known := true, true
	text := func(v any) string {
		if _, is := v.(unknown); is {
			known = false
			return "unknown"
		}
		if s, is := v.(config.Secret); is {
			return s.Reveal()
		}
		return scalarText(v)
	}
	connection := field.SecretKind() == config.SecretConnection
	var whole strings.Builder
	for i, r := range parts {
		s, secret := values[i].(config.Secret)
		at := n.Inside(r.start, r.end)
		switch {
		case r.namespace == "":
			whole.WriteString(r.literal)
		case !secret && connection && r.namespace == "params":
			p.diags.Add(diag.At(at, CodeSecretInText, "%s cannot stand beside a secret here: whoever gives it would choose where the secret goes", r).
				WithHint("write it out, or take it from ${env.NAME} or ${customer.NAME}"))
			good = false
		case !secret:
			whole.WriteString(text(values[i]))
		case len(parts) > 1 && connection:
			// Only as the password of the URL, where it means nothing but itself.
			if rest := parts[i+1:]; !passwordBefore.MatchString(whole.String()) || len(rest) == 0 || !strings.HasPrefix(rest[0].literal, "@") {
				p.diags.Add(diag.At(at, CodeSecretInText, "%s cannot stand here: within the URL of a connection, a secret is its password and nothing else", r).
					WithHint("write mysql://user:${secret.NAME}@host/database, or let ${secret.dsn} stand alone"))
				good = false
				continue
			}
			good = p.kind(n, r, config.SecretPassword, field, path) && good
			_, encoded, _ := strings.Cut(url.UserPassword("", s.Reveal()).String(), ":")
			whole.WriteString(encoded)
		default:
			good = p.kind(n, r, field.SecretKind(), field, path) && good
			whole.WriteString(s.Reveal())
		}
	}
	if !good || !known {
		return unknown{}
	}
	p.count(n, whole.Len())
	return config.NewSecret(whole.String())
}

// kind checks that a secret is of the kind that is wanted, and notes where it goes.
func (p *planner) kind(n *document.Node, r part, wanted config.SecretKind, field *config.Field, path []string) bool {
	at := n.Inside(r.start, r.end)
	kind, declared := KnownSecrets[r.name], true
	if kind == "" || r.namespace != "secret" {
		kind = p.in.SecretKinds[r.name]
		declared = kind != "" && r.namespace == "secret"
	}
	first, seen := p.kinds[r.String()]
	if !declared {
		if kind = wanted; seen {
			kind = first.kind
		}
	}
	if !seen {
		p.kinds[r.String()] = secretPlace{kind, at}
	}
	if kind != wanted {
		d := diag.At(at, CodeSecretKind, "%s is a secret of the kind %s, and setting %q takes %s", r, kind, field.Name,
			wanted)
		if !declared {
			d = d.WithRelated(first.at, "it stands for %s here", kind)
		}
		p.diags.Add(d.WithHint("a secret goes only where its kind belongs; use another one here"))
		return false
	}
	p.uses = append(p.uses, SecretUse{Secret: r.String(), Kind: kind, Setting: Pointer(path)})
	return true
}
