package draft

import (
	"strings"
	"testing"
)

// TestQuestionMarks: those of a query become parameters, called and typed as the columns that they are compared with or
// as it was said, and what was written runs as it is, and with values.
func TestQuestionMarks(t *testing.T) {
	for sort, server := range both(t) {
		t.Run(sort, func(t *testing.T) {
			s := server.For(t)
			load(t, s, "rental.sql")
			load(t, s, "awkward.sql")
			w := newShell(t, s.DSN(s.Database()))
			for file, c := range map[string]struct {
				query string
				named []string
				says  []string
				given []string
				rows  string // with what is given
			}{
				"times.yaml": {query: "SELECT film_id, title FROM film" +
					" WHERE last_update >= ? AND last_update < ? AND rating = ? ORDER BY film_id",
					says: []string{
						"{name: last_update_from, type: string, description: What last_update is compared with.}",
						"{name: last_update_to, type: string,", "{name: rating, type: string,",
						`args: ["${params.last_update_from}", "${params.last_update_to}", "${params.rating}"]`},
					given: []string{"last_update_from=2000-01-01 00:00:00", "last_update_to=2999-01-01", "rating=G"},
					rows:  "{\"film_id\":1,\"title\":\"An A\"}\n{\"film_id\":2,\"title\":\"B\"}\n"},
				"numbers.yaml": {query: "SELECT payment_id, amount FROM payment" +
					" WHERE amount BETWEEN ? AND ? AND customer_id IN (?, ?)",
					says: []string{"{name: amount_from, type: decimal,", "{name: amount_to, type: decimal,",
						"{name: customer_id, type: integer,", "{name: customer_id_2, type: integer,"},
					given: []string{"amount_from=4.985", "amount_to=4.990", "customer_id=1"},
					rows:  "{\"payment_id\":1,\"amount\":\"4.99\"}\n"},
				"day.yaml": {query: "SELECT `c`.customer_id FROM `customer` AS c -- why?\nWHERE `c`.`birth_date` >= ?",
					says:  []string{"{name: birth_date, type: date,"},
					given: []string{"birth_date=1980-07-15"}, rows: "{\"customer_id\":1}\n"},
				"named.yaml": {query: "SELECT customer_id FROM customer" +
					" WHERE (birth_date >= ? OR ? IS NULL) AND last_name <> '?' AND phone = ?",
					named: []string{"since:date=1980-07-16", "since", "phone"},
					says: []string{
						`{name: since, type: date, default: "1980-07-16", description: What birth_date is compared with.}`,
						"{name: phone, type: string,",
						`args: ["${params.since}", "${params.since}", "${params.phone}"]`},
					given: []string{"since=1980-01-01", "phone=4711815"}, rows: "{\"customer_id\":1}\n"},
				"some.yaml": {query: "SELECT film_id FROM film ORDER BY film_id LIMIT ? OFFSET ?",
					named: []string{"first=1", "after=0"},
					says:  []string{"{name: first, type: integer, default: 1,", "{name: after, type: integer, default: 0,"},
					given: []string{"after=1"}, rows: "{\"film_id\":2}\n"},
				"odd.yaml": {query: "SELECT `c: d`, `limit` FROM `a table, with: signs #1` JOIN (SELECT 1 AS `limit`) AS x" +
					" WHERE `'q'` = ? AND `${params.x}` IN (?) AND `limit` > ? AND 'a' <> ?",
					says: []string{"{name: q, type: integer,", "{name: params_x, type: integer,", "{name: limit_2, type: ",
						"{name: value, type: string,"},
					given: []string{"q=1"}},
			} {
				args := []string{"init", "-o", file, "--query", c.query}
				for _, text := range c.named {
					args = append(args, "-p", text)
				}
				w.must(args...)
				text := w.read(file)
				for _, want := range c.says {
					if !strings.Contains(text, want) {
						t.Errorf("%s does not say %s:\n%s", file, want, text)
					}
				}
				w.holdsUp(file)
				args = []string{"run", file, "--progress", "none"}
				for _, value := range c.given {
					args = append(args, "-p", value)
				}
				if got := w.must(args...); got != c.rows {
					t.Errorf("%q gives\n%s, want\n%s", args, got, c.rows)
				}
			}
		})
	}
}
