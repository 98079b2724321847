package expression

import "strings"

// Rewrite writes in CEL what an expression writes as SQL does, as far as that goes word by word: what stands in quotes
// stays as it is, and so do LIKE, BETWEEN, IN and NOT, which Hint tells about.
func Rewrite(text string) string {
	var b strings.Builder
	last := 0
	bare := func(part string) {
		for _, h := range habits() {
			if h.cel != "" {
				part = h.sql.ReplaceAllString(part, h.cel)
			}
		}
		b.WriteString(part)
	}
	for _, place := range quoted().FindAllStringIndex(text, -1) {
		bare(text[last:place[0]])
		b.WriteString(text[place[0]:place[1]])
		last = place[1]
	}
	bare(text[last:])
	return b.String()
}
