package host

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

const (
	redacted = "[secret]"
	// secretMinLen is the length, in bytes, from which a secret is blanked out wherever it occurs. A shorter one, of at
	// least shortestSecret, is blanked out where it is a word of its own: it may well be a part of ordinary words.
	secretMinLen   = 4
	shortestSecret = 2
	// squeezedMinLen is the length from which a secret is found also when there is white space within it.
	squeezedMinLen = 8
	// A secret of at least pieceMinLen is found also when only a part of it is there: every piece of pieceLen is looked
	// for.
	pieceLen    = 12
	pieceMinLen = 20
	// cutMinLen is the length from which the beginning of a secret, in front of an ellipsis, is blanked out.
	cutMinLen = 6
)

// Redaction takes the secrets of a run out of everything that is told about it: logs, faults, counters, receipts,
// panics. It finds a secret as it is, quoted as in Go or JSON, escaped as in a URL, in hexadecimal, in any base64, with
// white space in it, each line of it, and of a long one any piece. It is not changed once it is made.
type Redaction struct {
	texts    []string // wherever they stand, the longest first
	squeezed []string // those among them that are long enough, without white space
	words    []string // where they stand as a word
	base64   []inner  // what base64 makes of them, at any offset
	pieces   map[string]struct{}
	begins   []string // what may be cut off
}

// inner is the part of a base64 text that depends on the secret alone. The characters before and after it may hold bits
// of the secret and of its neighbours.
type inner struct {
	text          string
	before, after bool
}

// NewRedaction makes the redaction of these secrets. The password in a secret that is a URL is a secret of its own, and
// so is each of a secret that lists several.
func NewRedaction(secrets []string) *Redaction {
	r := &Redaction{pieces: map[string]struct{}{}}
	for _, secret := range secrets {
		isURL := strings.Contains(secret, "://")
		r.add(secret, isURL)
		for _, password := range passwords(secret) {
			r.add(password, false)
		}
		if isURL {
			continue
		}
		for line := range strings.Lines(secret) {
			for _, one := range strings.Split(line, ",") {
				one, _, _ = strings.Cut(one, "#")
				for _, text := range []string{strings.TrimSpace(line), strings.TrimSpace(one)} {
					if len(text) >= secretMinLen && text != secret {
						r.add(text, false)
					}
				}
			}
		}
	}
	longest := func(a, b string) int { return len(b) - len(a) }
	for _, list := range []*[]string{&r.texts, &r.squeezed, &r.words, &r.begins} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
		slices.SortStableFunc(*list, longest)
	}
	return r
}

// passwords are those in a URL, as written and unescaped, also of a URL that cannot be parsed.
func passwords(secret string) []string {
	_, rest, ok := strings.Cut(secret, "://")
	if !ok {
		return nil
	}
	userinfo, _, ok := cutLast(rest, "@")
	if !ok {
		return nil
	}
	_, password, ok := strings.Cut(userinfo, ":")
	if !ok {
		return nil
	}
	all := []string{password}
	if meant, err := url.PathUnescape(password); err == nil && meant != password {
		all = append(all, meant)
	}
	return all
}

// cutLast is strings.Cut at the last place.
func cutLast(text, at string) (before, after string, found bool) {
	if i := strings.LastIndex(text, at); i >= 0 {
		return text[:i], text[i+len(at):], true
	}
	return text, "", false
}

// add takes a text and what it becomes in other spellings.
func (r *Redaction) add(text string, isURL bool) {
	switch {
	case len(text) < shortestSecret:
		return
	case len(text) < secretMinLen:
		r.words = append(r.words, text)
		return
	}
	for _, spelled := range spellings(text) {
		r.texts = append(r.texts, spelled)
		if bare := withoutSpace(spelled); len(bare) >= squeezedMinLen {
			r.squeezed = append(r.squeezed, bare)
		}
	}
	r.encoded([]byte(text))
	r.begins = append(r.begins, text)
	if isURL {
		return // hosts and names of databases are no secrets
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if raw, err := encoding.DecodeString(text); err == nil && len(raw) >= 16 {
			r.encoded(raw)
			break
		}
	}
	if len(text) >= pieceMinLen {
		for i := 0; i+pieceLen <= len(text); i++ {
			r.pieces[text[i:i+pieceLen]] = struct{}{}
		}
	}
}

// encoded takes bytes in hexadecimal and in base64, wherever they stand in what is encoded.
func (r *Redaction) encoded(raw []byte) {
	inHex := hex.EncodeToString(raw)
	r.texts = append(r.texts, inHex, strings.ToUpper(inHex))
	if len(inHex) >= squeezedMinLen {
		r.squeezed = append(r.squeezed, inHex, strings.ToUpper(inHex))
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset := range 3 {
			text := encoding.EncodeToString(append(make([]byte, offset), raw...))
			from, to := (offset*8+5)/6, (offset+len(raw))*8/6
			if to-from >= secretMinLen {
				r.base64 = append(r.base64, inner{text[from:to], offset*8%6 != 0, (offset+len(raw))*8%6 != 0})
			}
		}
	}
}

// spellings are a text, what it becomes inside a quoted one, in Go and in JSON, and in a URL.
func spellings(text string) []string {
	inGo := strconv.Quote(text)
	var b strings.Builder
	e := json.NewEncoder(&b)
	_ = e.Encode(text) // text can be encoded
	inJSON := strings.TrimSuffix(b.String(), "\n")
	b.Reset()
	e.SetEscapeHTML(false)
	_ = e.Encode(text)
	plain := strings.TrimSuffix(b.String(), "\n")
	all := []string{text, inGo[1 : len(inGo)-1], inJSON[1 : len(inJSON)-1], plain[1 : len(plain)-1]}
	_, userinfo, _ := strings.Cut(url.UserPassword("", text).String(), ":")
	for _, escaped := range []string{
		url.QueryEscape(text), url.PathEscape(text), userinfo, percentEncoded(text, "-_.~"), percentEncoded(text, "-_.~!'()*"),
	} {
		all = append(all, escaped, lowerEscapes(escaped))
	}
	return all
}

// percentEncoded escapes every byte of a text but letters, digits and these.
func percentEncoded(text, plain string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c < utf8.RuneSelf && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || strings.IndexByte(plain, c) >= 0) {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
	}
	return b.String()
}

// lowerEscapes writes the escapes of a URL in lower case.
func lowerEscapes(text string) string {
	out := []byte(text)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:], strings.ToLower(string(out[i+1:i+3])))
		}
	}
	return string(out)
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func withoutSpace(text string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && isSpace(byte(r)) {
			return -1
		}
		return r
	}, text)
}

// span is bytes of a text from one place to before another.
type span struct{ from, to int }

// Text returns text with every secret in it replaced.
func (r *Redaction) Text(text string) string {
	if r == nil || text == "" || len(r.texts) == 0 && len(r.words) == 0 {
		return text
	}
	var found []span
	each := func(in, needle string, use func(at int)) {
		for from := 0; ; {
			i := strings.Index(in[from:], needle)
			if i < 0 {
				return
			}
			use(from + i)
			from += i + 1
		}
	}
	for _, needle := range r.texts {
		each(text, needle, func(at int) { found = append(found, span{at, at + len(needle)}) })
	}
	for _, needle := range r.words {
		each(text, needle, func(at int) {
			before, _ := utf8.DecodeLastRuneInString(text[:at])
			after, _ := utf8.DecodeRuneInString(text[at+len(needle):])
			if !isWord(before) && !isWord(after) {
				found = append(found, span{at, at + len(needle)})
			}
		})
	}
	for i := 0; len(r.pieces) > 0 && i+pieceLen <= len(text); i++ {
		if _, ok := r.pieces[text[i:i+pieceLen]]; ok {
			found = append(found, span{i, i + pieceLen})
		}
	}
	for _, ellipsis := range []string{"…", "..."} {
		each(text, ellipsis, func(at int) {
			if n := r.cutOff(text[:at], cutMinLen); n > 0 {
				found = append(found, span{at - n, at})
			}
		})
	}
	// The text without white space, and for each byte its place in the text.
	bare := make([]byte, 0, len(text))
	places := make([]int, 0, len(text))
	for i := range len(text) {
		if !isSpace(text[i]) {
			bare, places = append(bare, text[i]), append(places, i)
		}
	}
	in := string(bare)
	for _, needle := range r.squeezed {
		each(in, needle, func(at int) { found = append(found, span{places[at], places[at+len(needle)-1] + 1}) })
	}
	for _, needle := range r.base64 {
		each(in, needle.text, func(at int) {
			from, to := at, at+len(needle.text)
			if needle.before && from > 0 && isBase64(in[from-1]) && places[from-1] == places[from]-1 {
				from--
			}
			if needle.after && to < len(in) && isBase64(in[to]) && places[to] == places[to-1]+1 {
				to++
			}
			for to < len(in) && in[to] == '=' {
				to++
			}
			found = append(found, span{places[from], places[to-1] + 1})
		})
	}
	return replace(text, found)
}

// replace puts the mark in the place of what was found.
func replace(text string, found []span) string {
	if len(found) == 0 {
		return text
	}
	slices.SortFunc(found, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	end := 0
	for i := 0; i < len(found); {
		whole := found[i]
		for i++; i < len(found) && found[i].from < whole.to; i++ {
			whole.to = max(whole.to, found[i].to)
		}
		b.WriteString(text[end:whole.from])
		b.WriteString(redacted)
		end = whole.to
	}
	b.WriteString(text[end:])
	return b.String()
}

func isWord(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_')
}

func isBase64(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '+' || c == '/' || c == '-' || c == '_'
}

// cutOff returns how many bytes at the end of a text are the beginning of a secret.
func (r *Redaction) cutOff(text string, least int) int {
	longest := 0
	for _, secret := range r.begins {
		for n := min(len(secret)-1, len(text)); n >= least && n > longest; n-- {
			if strings.HasSuffix(text, secret[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// Cut is Text for a text whose end was cut off.
func (r *Redaction) Cut(text string) string {
	if r == nil {
		return text
	}
	n := r.cutOff(text, secretMinLen)
	if n == 0 {
		return r.Text(text)
	}
	return r.Text(text[:len(text)-n]) + redacted
}

// Map returns a copy of texts by names, both without secrets.
func (r *Redaction) Map(in map[string]string) map[string]string {
	if in == nil {
		return nil
	}
	out := make(map[string]string, len(in))
	for name, value := range in {
		out[r.Text(name)] = r.Text(value)
	}
	return out
}

// Counters returns a copy of counters without secrets. One whose value is a secret is left
// out, for a number cannot be blanked.
func (r *Redaction) Counters(in map[string]int64) map[string]int64 {
	out := make(map[string]int64, len(in))
	for name, value := range in {
		if text := strconv.FormatInt(value, 10); r.Text(text) == text {
			out[r.Text(name)] += value
		}
	}
	return out
}

// Fault returns the fault of err without secrets, or nil for nil. If there was a secret in it, its cause is dropped,
// because the text of the cause may have the secret too.
func (r *Redaction) Fault(err error) error {
	f := fault.From(err)
	if f == nil {
		return nil
	}
	clean := &fault.Fault{
		Code: r.Text(f.Code), Class: fault.Class(r.Text(string(f.Class))), Message: r.Text(f.Message), Hint: r.Text(f.Hint),
		Retryable: f.Retryable, Details: r.Map(f.Details), Stage: r.Text(f.Stage),
	}
	if clean.Code == f.Code && clean.Class == f.Class && clean.Message == f.Message && clean.Hint == f.Hint && clean.Stage == f.Stage &&
		maps.Equal(clean.Details, f.Details) {
		return err
	}
	return clean
}

// Receipt returns a receipt without secrets, but for its link: that is made to be handed out.
func (r *Redaction) Receipt(in stage.Receipt) stage.Receipt {
	in.SHA256, in.Location = r.Text(in.SHA256), r.Text(in.Location)
	return in
}
