package mysqlpoll

import (
	"slices"
	"testing"
)

func TestPrimaryKey(t *testing.T) {
	t.Parallel()
	for definition, want := range map[string][]string{
		"CREATE TABLE `t` (\n  `id` int,\n  PRIMARY KEY (`id`)\n)":                                         {"id"},
		"CREATE TABLE `t` (\n  `id` int,\n  PRIMARY KEY (`b``, (c)`,`a`(10)) USING BTREE,\n  KEY (`d`)\n)": {"b`, (c)", "a"},
		"CREATE TABLE `t` (\n  `id` int,\n  UNIQUE KEY `PRIMARY KEY` (`id`)\n)":                            nil,
	} {
		if got := primaryKey(definition); !slices.Equal(got, want) {
			t.Errorf("%s: %q", definition, got)
		}
	}
}
